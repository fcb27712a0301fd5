"""When calls of Redis fail without being sent."""

import contextlib
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from arks.kit.testing.clock import FakeClock
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.service.ports.counters import CountersUnavailable


class Redis:
    """Answers each command, or is too slow."""

    def __init__(self) -> None:
        self.is_slow = False
        self.calls = 0

    async def execute(self, *_: object) -> list[bytes]:
        self.calls += 1
        if self.is_slow:
            raise TimeoutError
        return []


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def counters(redis: Redis, registry: CollectorRegistry, clock: FakeClock) -> RedisCounters:
    return RedisCounters(cast("RedisBatches", redis), registry, monotonic=clock.monotonic)


async def fails(counters: RedisCounters) -> None:
    with pytest.raises(CountersUnavailable):
        await counters.open_requests("team")


async def test_a_single_slow_answer_fails_no_other_call(redis: Redis, counters: RedisCounters) -> None:
    redis.is_slow = True
    await fails(counters)
    redis.is_slow = False
    assert 0 == await counters.open_requests("team")


async def test_slow_answers_with_others_between_them_pause_nothing(redis: Redis, counters: RedisCounters) -> None:
    for is_slow in (True, False) * 3:
        redis.is_slow = is_slow
        if is_slow:
            await fails(counters)
        else:
            assert 0 == await counters.open_requests("team")
    assert 6 == redis.calls


async def test_while_redis_is_down_its_metrics_show_it(
    redis: Redis, counters: RedisCounters, registry: CollectorRegistry
) -> None:
    found = []
    for is_slow in (False, True, True, True):  # the last one is not sent
        redis.is_slow = is_slow
        with contextlib.suppress(CountersUnavailable):
            await counters.open_requests("team")
        errors = registry.get_sample_value("arks_redis_errors_total", {"call": "hvals"})
        found.append((registry.get_sample_value("arks_redis_up"), errors or 0))
    assert [(1, 0), (0, 1), (0, 2), (0, 3)] == found
    assert 3 == redis.calls


async def test_while_redis_is_down_calls_fail_at_once(redis: Redis, counters: RedisCounters, clock: FakeClock) -> None:
    redis.is_slow = True
    for _ in range(2):
        await fails(counters)
        clock.advance(0.2)
    await fails(counters)
    assert 2 == redis.calls
    clock.advance(0.1)
    await fails(counters)
    assert 3 == redis.calls
