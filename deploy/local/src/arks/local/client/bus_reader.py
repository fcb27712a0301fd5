"""What services publish, over a connection to NATS: facts, load reports, events and requests.

A user waits for each query, so it is answered within a few seconds or fails with a message.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from google.protobuf.message import Message

from arks.contracts import subjects
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import DemandReport, LoadReport
from arks.kit.bus import Bus
from arks.kit.errors import Unavailable
from arks.kit.facts import FactReader
from arks.kit.tasks import cancel
from arks.local.client.event_log import read_events
from arks.local.client.request_log import names_by_address, read_requests
from arks.local.render.events import Event
from arks.local.render.requests import Request

M = TypeVar("M", bound=Message)

ANSWER_SECONDS = 10.0
"""Timeout of a query. NATS answers in milliseconds, unless it restarts at this moment."""


class BusReader:
    """Reads what services publish. `bus` has been started."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    @asynccontextmanager
    async def watched_facts(self, bucket: subjects.Facts, message: type[M]) -> AsyncIterator[FactReader[M]]:
        """A reader whose cache holds all facts of the bucket and follows their changes. Raises Unavailable."""
        reader = FactReader(self._bus, bucket, message)
        run = asyncio.create_task(reader.run())
        try:
            await synced(reader.cache.synced, bucket.value)
            yield reader
        finally:
            await cancel(run)

    async def collect_load(self, loads: dict[tuple[str, str], LoadReport]) -> None:
        """Keep the newest report of each application in `loads`, by namespace and application."""

        def store(report: LoadReport) -> None:
            loads[report.namespace, report.application] = report

        await self.subscribe_load(store)

    async def subscribe_load(self, take: Callable[[LoadReport], None]) -> None:
        """Call `take` with each load report of all namespaces from now on."""
        await self._bus.subscribe(subjects.LOAD_SUBJECTS, lambda payload: take(LoadReport.FromString(payload)))

    async def collect_demand(self, reports: dict[tuple[str, str, str], tuple[float, DemandReport]]) -> None:
        """Keep the newest report of held requests by namespace, endpoint and holder, with when it was received."""

        def store(payload: bytes) -> None:
            report = DemandReport.FromString(payload)
            key = report.namespace, report.endpoint, report.holder
            reports.pop(key, None)
            if report.held:
                reports[key] = (time.monotonic(), report)

        await self._bus.subscribe(subjects.DEMAND_SUBJECTS, store)

    def events(self, subject: str, since: datetime | None, *, follow: bool = False) -> AsyncIterator[Event]:
        """Events of the stream from `since` on, or all; with `follow` without end, else up to now."""
        return read_events(self._bus.jetstream, subject, since, follow=follow)

    async def requests(
        self, namespace: str | None, since: datetime, *, follow: bool = False
    ) -> AsyncGenerator[Request, None]:
        """Requests that ended after `since`, with the names of replicas that are there; None: of all namespaces."""
        async with self.watched_facts(subjects.Facts.REPLICAS, ReplicasFact) as replicas:
            names = names_by_address(replicas.cache.values())
            async for request in read_requests(self._bus.jetstream, namespace, since, follow=follow):
                if follow:
                    names = names_by_address(replicas.cache.values())
                yield replace(request, replica_name=names.get((request.namespace, request.replica), ""))


@asynccontextmanager
async def started(bus: Bus, problem: str) -> AsyncIterator[None]:
    """Connect, and disconnect at the end. Raises Unavailable with the problem if NATS does not answer in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await bus.start()
    except TimeoutError as error:
        raise Unavailable(problem) from error
    try:
        yield
    finally:
        await bus.stop()


async def synced(synced: asyncio.Event, what: str) -> None:
    """Wait for the first state of a cache. Raises Unavailable."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await synced.wait()
    except TimeoutError as error:
        raise Unavailable(f"NATS did not list {what} within {ANSWER_SECONDS:g} s; see `arks status`") from error
