"""The load of every application and stage, whichever replica of metrics reads it: autoscalers are decided by one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from arks.contracts.load import stale_seconds
from arks.kit.key import Key
from arks.metrics.domain.replicas import NOT_READ, Replica, ReplicaReport
from arks.metrics.service.collector import Collector


@dataclass(frozen=True, slots=True)
class Received:
    """The newest report of another member."""

    replicas: Mapping[Replica, ReplicaReport]
    age_seconds: float


class Reported(Protocol):
    def newest(self, key: Key) -> Received | None:
        """The newest report of an application or a stage; None before the first one."""


class SharedLoads:
    """What is read here; what is not, or not yet, as it was reported."""

    def __init__(self, collector: Collector, reported: Reported) -> None:
        self._collector = collector
        self._reported = reported

    def reports(self, key: Key) -> Mapping[Replica, ReplicaReport]:
        """The entry of each replica of an application or a stage. Without a recent report each has a problem."""
        watch = self._collector.watch(key)
        own = {} if watch is None else watch.reports()
        if own and all(report.problem != NOT_READ for report in own.values()):
            return own
        received = self._reported.newest(key)
        if received is None:
            return own
        return received_reports(received) | {
            replica: report for replica, report in own.items() if report.problem != NOT_READ
        }


def received_reports(received: Received) -> dict[Replica, ReplicaReport]:
    """The entries of a report, each with a problem if it is too old to be the present."""
    if received.age_seconds <= stale_seconds(len(received.replicas)):
        return dict(received.replicas)
    problem = f"no load report for {received.age_seconds:.0f} s"
    return {replica: replace(report, problem=problem) for replica, report in received.replicas.items()}
