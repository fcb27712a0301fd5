"""Repeated calls."""

import pytest

from arks.engine.v1.ark_pb2 import Generation
from arks.openai_proxy.service.completions import Completions
from arks.openai_proxy.service.ports import EngineFailed
from arks.openai_proxy.testing.fake_engine import FakeEngine, events

AWAY = EngineFailed("UNAVAILABLE", "refused")


class Pauses(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def completions(engine: FakeEngine, pauses: Pauses) -> Completions:
    return Completions(engine, sleep=pauses)


async def test_a_stream_whose_engine_is_away_for_a_moment_comes_whole(
    engine: FakeEngine, pauses: Pauses, completions: Completions
) -> None:
    engine.failures = [AWAY, AWAY]
    assert events() == [event async for event in await completions.stream(Generation())]
    assert [0.05, 0.2] == pauses


async def test_an_engine_that_stays_away_is_an_error_after_three_attempts(
    engine: FakeEngine, pauses: Pauses, completions: Completions
) -> None:
    engine.failures = [AWAY] * 4
    with pytest.raises(EngineFailed, match="refused"):
        await completions.complete(Generation(choices=1))
    assert ([0.05, 0.2], [AWAY]) == (pauses, engine.failures)


@pytest.mark.parametrize("status", ["INTERNAL", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"])
async def test_what_the_engine_may_have_worked_on_is_not_repeated(
    status: str, engine: FakeEngine, pauses: Pauses, completions: Completions
) -> None:
    engine.failures = [EngineFailed(status, "")]
    with pytest.raises(EngineFailed):
        await completions.stream(Generation())
    assert [] == pauses


async def test_nothing_is_repeated_after_the_first_event(engine: FakeEngine, completions: Completions) -> None:
    engine.fail_after = 1
    found = await completions.stream(Generation())
    assert events()[0] == await anext(found)
    with pytest.raises(EngineFailed):
        await anext(found)
    assert 1 == len(engine.generations)


async def test_a_stream_without_events_is_an_error(engine: FakeEngine, completions: Completions) -> None:
    engine.fail_after = 0
    with pytest.raises(EngineFailed):
        await completions.stream(Generation())
