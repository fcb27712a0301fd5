"""Requests wait for the first replica, pass as its engine takes them, and end with their client."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import pytest

from arks.events.v1.facts_pb2 import EndpointFact, RoutedReplica
from arks.events.v1.load_pb2 import DemandReport, LoadReport, ReplicaLoad
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.tasks import cancel
from arks.kit.testing.wait import eventually
from arks.token_quota.domain.holding import FIRST_REQUESTS, Bounds
from arks.token_quota.service.holding import Holding, load_of
from arks.token_quota.testing.waking import FakeLoads, KeptMessages, holding

ENDPOINT, APPLICATION = Key("team", "chat"), Key("team", "app")


@dataclass
class Running:
    held: Holding
    endpoints: Cache[EndpointFact]
    loads: FakeLoads
    kept: KeptMessages
    waits: list[asyncio.Task[bool]] = field(default_factory=list)

    def crowd(self, count: int) -> None:
        self.waits += [asyncio.create_task(self.held.wait(ENDPOINT, "m")) for _ in range(count)]

    def ready(self) -> None:
        replica = RoutedReplica(application="app", name="app-0", weight=1)
        self.endpoints.apply(ENDPOINT, EndpointFact(namespace="team", name="chat", ready=True, replicas=[replica]))

    def report(self, running: int, waiting: int = 0, slots: int = 8) -> None:
        load = ReplicaLoad(name="app-0", running_requests=running, waiting_requests=waiting, slots=slots)
        self.loads.send(LoadReport(namespace="team", application="app", replicas=[load]))

    def passed(self) -> int:
        return sum(wait.done() and not wait.cancelled() and wait.result() for wait in self.waits)

    def reports(self) -> list[int]:
        return [DemandReport.FromString(payload).held for _, payload in self.kept.published]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    endpoints: Cache[EndpointFact] = Cache()
    loads, kept = FakeLoads(), KeptMessages()
    held = holding(endpoints, loads, kept, bounds=Bounds(endpoint=20))
    task = asyncio.create_task(held.run())
    made = Running(held, endpoints, loads, kept)
    yield made
    for wait in made.waits:
        await cancel(wait)
    await cancel(task)


@pytest.mark.parametrize(("running", "waiting", "slots"), [(20, 0, 264), (8, 3, 16), (20, 4, 28), (0, 4, 0)])
def test_an_engine_in_which_requests_wait_has_no_free_slot_whatever_is_configured(
    running: int, waiting: int, slots: int
) -> None:
    engine = ReplicaLoad(name="app-0", running_requests=running, waiting_requests=waiting, slots=256)
    idle = ReplicaLoad(name="app-1", slots=8)
    assert slots == load_of(LoadReport(replicas=[engine, idle])).slots


async def test_a_crowd_waits_and_beyond_the_bound_is_refused_at_once(running: Running) -> None:
    running.crowd(30)
    await eventually(lambda: sum(wait.done() for wait in running.waits) == 10)
    assert 0 == running.passed()
    await eventually(lambda: running.reports() and running.reports()[-1] == 20)
    first = DemandReport.FromString(running.kept.published[0][1])
    assert ("team", "chat", "m", "here", 0) == (
        first.namespace,
        first.endpoint,
        first.model,
        first.holder,
        first.refused,
    )


async def test_a_report_has_how_long_requests_have_waited(running: Running) -> None:
    running.crowd(1)
    await eventually(lambda: len(running.kept.published) >= 2)
    first, second = (DemandReport.FromString(payload).held_seconds for _, payload in running.kept.published[:2])
    assert first < 0.4 < second


async def test_a_ready_replica_gets_what_its_slots_take_in_order(running: Running) -> None:
    running.crowd(20)
    await eventually(running.reports)
    running.ready()
    await eventually(lambda: running.passed() == FIRST_REQUESTS and running.loads.followers)
    assert all(wait.done() for wait in running.waits[:FIRST_REQUESTS])
    running.report(running=0)  # measured before those that passed: 8 slots, 4 of them taken by now
    await eventually(lambda: running.passed() == 8)
    running.report(running=8, waiting=1)
    assert 8 == running.passed()


async def test_the_last_report_is_that_none_waits_and_loads_are_followed_no_more(running: Running) -> None:
    running.crowd(FIRST_REQUESTS)
    await eventually(running.reports)
    running.ready()
    await eventually(lambda: running.reports()[-1] == 0)
    assert FIRST_REQUESTS == running.passed()
    assert not running.loads.followers
    assert not running.held.has_queue(ENDPOINT)


async def test_a_client_that_hangs_up_is_removed_from_the_queue_at_once(running: Running) -> None:
    running.crowd(20)
    await eventually(lambda: not running.held.has_room(ENDPOINT))
    await cancel(running.waits[0])
    assert running.held.has_room(ENDPOINT)


async def test_a_request_waits_no_longer_than_the_limit() -> None:
    held = holding(seconds=0.0)
    assert not await held.wait(ENDPOINT, "")
    assert held.has_room(ENDPOINT)


async def test_crowds_of_several_endpoints_do_not_wait_for_each_other(running: Running) -> None:
    other: Iterable[asyncio.Task[bool]] = [asyncio.create_task(running.held.wait(Key("team", "never"), ""))]
    running.crowd(1)
    running.ready()
    await eventually(lambda: running.passed() == 1)
    for wait in other:
        assert not wait.done()
        await cancel(wait)
