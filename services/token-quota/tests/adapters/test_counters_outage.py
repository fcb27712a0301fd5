"""When calls of Redis fail without being sent."""

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
def counters(redis: Redis, clock: FakeClock) -> RedisCounters:
    return RedisCounters(cast("RedisBatches", redis), CollectorRegistry(), monotonic=clock.monotonic)


async def fails(counters: RedisCounters) -> None:
    with pytest.raises(CountersUnavailable):
        await counters.open_requests("team")


async def test_a_single_slow_answer_fails_no_other_call(redis: Redis, counters: RedisCounters) -> None:
    redis.is_slow = True
    await fails(counters)
    redis.is_slow = False
    assert 0 == await counters.open_requests("team")


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
