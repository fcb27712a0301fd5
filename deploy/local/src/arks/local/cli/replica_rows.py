"""Replicas with their load and weight, current at each call: the data of `arks top` and `arks explain`."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arks.events.v1.facts_pb2 import EndpointFact
    from arks.local.client.bus_reader import BusReader
    from arks.local.render.held import Held
    from arks.local.render.top import Row

FIRST_LOAD_SECONDS = 3.0
"""Timeout of the first load reports: metrics reports idle replicas every two seconds, or less often if there are
hundreds of single ones."""
_POLL_SECONDS = 0.05
_HELD_SECONDS = 0.6
"""token-quota reports held requests twice a second."""


@contextlib.asynccontextmanager
async def replica_rows(bus: "BusReader", namespace: str | None) -> "AsyncIterator[Callable[[], list[Row]]]":
    """A function that returns the current rows of all replicas in a namespace (None: in all)."""
    async with load_view(bus, namespace) as current:
        yield lambda: current()[0]


@contextlib.asynccontextmanager
async def load_view(
    bus: "BusReader", namespace: str | None
) -> "AsyncIterator[Callable[[], tuple[list[Row], list[EndpointFact]]]]":
    """As `replica_rows`, with the endpoints of the namespace."""
    from arks.contracts.subjects import Facts
    from arks.events.v1.facts_pb2 import EndpointFact, ReplicasFact
    from arks.events.v1.load_pb2 import LoadReport
    from arks.local.render.top import rows

    loads: dict[tuple[str, str], LoadReport] = {}
    await bus.collect_load(loads)
    async with (
        bus.watched_facts(Facts.REPLICAS, ReplicasFact) as replicas,
        bus.watched_facts(Facts.ENDPOINTS, EndpointFact) as endpoints,
    ):

        def current() -> "tuple[list[Row], list[EndpointFact]]":
            chosen = [fact for fact in replicas.cache.values() if namespace in {None, fact.namespace}]
            named = [fact for fact in endpoints.cache.values() if namespace in {None, fact.namespace}]
            found = rows(chosen, endpoints.cache.values(), loads, datetime.now(UTC))
            return found, sorted(named, key=lambda fact: (fact.namespace, fact.name))

        yield current


@contextlib.asynccontextmanager
async def held_view(bus: "BusReader", namespace: str | None) -> "AsyncIterator[Callable[[], list[Held]]]":
    """A function that returns the requests that wait at the gateway in a namespace (None: in all)."""
    from arks.contracts.subjects import Facts
    from arks.events.v1.facts_pb2 import ScalingFact
    from arks.events.v1.load_pb2 import DemandReport
    from arks.local.render.held import of_reports

    reports: dict[tuple[str, str, str], tuple[float, DemandReport]] = {}
    await bus.collect_demand(reports)
    async with bus.watched_facts(Facts.SCALING, ScalingFact) as scaling:

        def current() -> "list[Held]":
            found = of_reports(reports.values(), scaling.cache.values(), time.monotonic())
            return [held for held in found if namespace in {None, held.namespace}]

        yield current


async def wait_for_held() -> None:
    """Until each holder has reported once."""
    await asyncio.sleep(_HELD_SECONDS)


async def wait_for_load(rows: "Callable[[], list[Row]]") -> None:
    """Wait until every ready replica has a load report, at most FIRST_LOAD_SECONDS."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_LOAD_SECONDS):
            while any(row.state == "Ready" and row.age_seconds is None for row in rows()):  # noqa: ASYNC110  # of many sources
                await asyncio.sleep(_POLL_SECONDS)
