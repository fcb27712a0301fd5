"""A trace of what an endpoint's decisions are made from, as endpoint-router's service/trace.py reads it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.json_format import MessageToDict

from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.key import Key

Write = Callable[[dict[str, Any]], None]
Seconds = Callable[[], float]


class Recording:
    """Writes the endpoint at `begin`, then what is about its namespace, each line with the time of the load reports."""

    def __init__(
        self, endpoint: dict[str, Any], write: Write, *, now: Seconds = time.time, elapsed: Seconds = time.monotonic
    ) -> None:
        """`now`: seconds since the epoch, by this machine's clock. `elapsed`: by a clock that never jumps."""
        self._endpoint, self._write, self._elapsed = endpoint, write, elapsed
        self._namespace = endpoint["metadata"]["namespace"]
        self._epoch = now() - elapsed()
        self._replicas: dict[str, ReplicasFact] = {}
        """Application -> its fact as last written."""
        self._begun = False
        self._lines = 0
        self.first_report = asyncio.Event()
        """Set once a load report has arrived."""

    def begin(self, facts: Iterable[ReplicasFact]) -> None:
        """Write what is known now, all with the same time."""
        self._begun, at = True, self._now()
        self._add("endpoint", self._endpoint, at)
        for fact in facts:
            self._add_replicas(fact, at)

    def end(self) -> int:
        """Write the end, and no more lines. Returns how many were written."""
        self._add("end", {}, self._now())
        self._begun = False
        return self._lines

    def take_replicas(self, application: Key, fact: ReplicasFact | None) -> None:
        """Take in the fact of an application, if it has changed; None: it is gone."""
        gone = ReplicasFact(namespace=application.namespace, application=application.name)
        self._add_replicas(gone if fact is None else fact, self._now())

    def take_load(self, report: LoadReport) -> None:
        if not self.first_report.is_set():
            measured_at = report.measured_at.seconds + report.measured_at.nanos / 1e9
            # Times are compared with those of load reports, whose clock is that of the cluster.
            self._epoch = measured_at - self._elapsed()
            self.first_report.set()
        if report.namespace == self._namespace:
            self._add("load", MessageToDict(report), self._now())

    def _now(self) -> float:
        return round(self._epoch + self._elapsed(), 3)

    def _add_replicas(self, fact: ReplicasFact, at: float) -> None:
        known = self._replicas.get(fact.application)
        if self._begun and fact.namespace == self._namespace and known != fact:
            self._replicas[fact.application] = fact
            self._add("replicas", MessageToDict(fact), at)

    def _add(self, name: str, content: dict[str, Any], at: float) -> None:
        if self._begun:
            self._write({"at": at, name: content})
            self._lines += 1
