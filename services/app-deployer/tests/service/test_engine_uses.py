"""What engines drop for the sake of their model, as it becomes known."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from arks.app_deployer.domain.workload import ObservedReplica, ObservedWorkload
from arks.app_deployer.service.engine_uses import EngineUses
from arks.app_deployer.testing.fake_reader import FakeReader
from arks.contracts.resources import InstanceState
from arks.kit.key import Key
from arks.kit.testing.wait import eventually

KEY = Key("default", "app")
NOTHING = frozenset[str]()


def replica(port: int, state: InstanceState = InstanceState.READY, restarts: int = 0) -> ObservedReplica:
    return ObservedReplica(f"app-{port}", state, "127.0.0.1", port, restarts=restarts)


class Harness:
    def __init__(self) -> None:
        self.reader = FakeReader()
        self.uses = EngineUses(self.reader, pause_seconds=0.0)
        self.changed: list[Key] = []
        self.uses.subscribe(self.changed.append)

    def of(self, *replicas: ObservedReplica) -> frozenset[str]:
        return self.uses.of(KEY, "qwen", ObservedWorkload(replicas))


@pytest_asyncio.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = Harness()
    running = asyncio.create_task(harness.uses.run())
    yield harness
    running.cancel()
    await asyncio.wait([running])


async def test_an_engine_is_queried_once_when_it_is_ready_and_nothing_is_refused_before(harness: Harness) -> None:
    harness.reader.unsupported_by = {1: frozenset({"tools"})}
    assert NOTHING == harness.of(replica(1, InstanceState.LOADING))
    assert NOTHING == harness.of(replica(1))
    await eventually(lambda: [KEY] == harness.changed)
    assert {"tools"} == harness.of(replica(1))
    assert {"tools"} == harness.of(replica(1, InstanceState.LOADING))
    assert [("127.0.0.1", 1, "qwen")] == harness.reader.queried


async def test_what_one_replica_drops_is_refused_until_it_has_ended(harness: Harness) -> None:
    harness.reader.unsupported_by = {1: frozenset({"tools"}), 2: frozenset({"tool_choice.required"})}
    harness.of(replica(1), replica(2), replica(3))
    await eventually(lambda: [KEY, KEY] == harness.changed)
    assert {"tools", "tool_choice.required"} == harness.of(replica(1), replica(2), replica(3))
    assert {"tool_choice.required"} == harness.of(replica(2), replica(3))
    assert NOTHING == harness.of(replica(3))


async def test_an_engine_that_started_again_is_queried_again(harness: Harness) -> None:
    harness.reader.unsupported_by = {1: frozenset({"tools"})}
    harness.of(replica(1))
    await eventually(lambda: [KEY] == harness.changed)
    harness.reader.unsupported_by = {}
    assert NOTHING == harness.of(replica(1, restarts=1))
    await eventually(lambda: len(harness.reader.queried) == 2)


async def test_an_engine_that_does_not_answer_is_queried_again(harness: Harness) -> None:
    harness.reader.unsupported_by = {1: frozenset({"tools"})}
    harness.reader.faults = 4
    harness.of(replica(1))
    await eventually(lambda: len(harness.reader.queried) == 3)
    await eventually(lambda: {"tools"} == harness.of(replica(1)))
    assert 5 == len(harness.reader.queried)


async def test_of_an_application_that_is_gone_nothing_is_kept(harness: Harness) -> None:
    harness.reader.unsupported_by = {1: frozenset({"tools"})}
    harness.of(replica(1))
    harness.uses.forget(KEY)
    await eventually(lambda: len(harness.reader.queried) == 1)
    assert ([], NOTHING) == (harness.changed, harness.of())
