"""Counters on a real Valkey begin again: after a wipe, after a reset, after an earlier release."""

import asyncio

import pytest
import redis.asyncio as redis

from arks.contracts.resources import QuotaPeriod
from arks.kit.testing.servers import Server
from arks.token_quota.adapters.counter_keys import CounterKeys
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.domain.limits import Budget, BudgetUse, RateUse
from arks.token_quota.domain.time import DAY_MILLISECONDS, Moment
from arks.token_quota.service.ports.counters import CountersUnavailable, Epoch
from arks.token_quota.service.ports.ledger import BudgetSums, WindowSums
from arks.token_quota.testing.counters import NOW, TEAM, apply, change, connect, fill, grant, read, request

pytestmark = pytest.mark.real


async def test_without_counters_the_answer_is_to_make_them(counters: RedisCounters) -> None:
    assert None is await counters.grant(request())


async def test_after_a_wipe_the_counters_are_missing(counters: RedisCounters, valkey: Server) -> None:
    await fill(counters, request())
    assert await counters.grant(request(1)) is not None
    await valkey.kill()
    await valkey.restart()
    with pytest.raises(CountersUnavailable):
        await counters.grant(request(2))
    assert None is await counters.grant(request(2))


async def test_rates_that_no_request_used_for_days_are_forgotten(counters: RedisCounters, valkey: Server) -> None:
    await fill(counters, request())
    await counters.return_lost_leases(TEAM, Moment(NOW + 2 * DAY_MILLISECONDS))
    async with redis.Redis(port=valkey.port, password=valkey.password, protocol=2) as client:
        assert 1 == await client.hlen(CounterKeys(TEAM).rates)
        await counters.return_lost_leases(TEAM, Moment(NOW + 3 * DAY_MILLISECONDS))
        assert 0 == await client.hlen(CounterKeys(TEAM).rates)


async def test_old_rates_are_forgotten_however_many_others_there_are(counters: RedisCounters, valkey: Server) -> None:
    """Each call looks at some hundred of them."""
    epoch, later = await counters.open(TEAM, 0), NOW + 3 * DAY_MILLISECONDS
    old = [request()._replace(token=f"old{number}") for number in range(20)]
    used = [request(now=later)._replace(token=f"used{number}") for number in range(500)]
    await asyncio.gather(*(counters.fill_rate(epoch, each, WindowSums(RateUse(), 0)) for each in (*old, *used)))
    async with redis.Redis(port=valkey.port, password=valkey.password, protocol=2) as client:
        for _ in range(20):
            await counters.return_lost_leases(TEAM, Moment(later))
        assert 500 == await client.hlen(CounterKeys(TEAM).rates)


async def test_a_life_is_replaced_only_by_who_knows_it(counters: RedisCounters) -> None:
    first = await counters.open(TEAM, 5)
    assert first == await counters.open(TEAM, 9)
    assert first == await counters.open(TEAM, 9, replace="another")
    assert 9 == (await counters.open(TEAM, 9, replace=first.id)).cursor


async def test_a_life_ends_when_the_server_is_wiped_or_counters_begin_again(
    counters: RedisCounters, valkey: Server
) -> None:
    first = await counters.life()
    other = connect(valkey)
    assert first == await counters.life() == await other.life()
    await other.close()
    async with redis.Redis(port=valkey.port, password=valkey.password) as client:
        await client.flushall()
    second = await counters.life()
    epoch = await counters.open(TEAM, 0)
    assert second == await counters.life() != first
    await counters.open(TEAM, 0, replace=epoch.id)
    assert await counters.life() not in {first, second}


async def test_sums_that_are_older_than_the_counters_or_of_an_earlier_life_make_no_counter(
    counters: RedisCounters,
) -> None:
    command, sums = request(), (WindowSums(RateUse(), 0), BudgetSums(0, 0, 0))

    async def made(epoch: Epoch) -> list[bool]:
        return [
            await counters.fill_rate(epoch, command, sums[0]),
            await counters.fill_budget(epoch, command, sums[1]),
        ]

    first = await counters.open(TEAM, 0)
    await apply(counters, 1, change(""))
    assert [False, False] == await made(first)
    second = await counters.open(TEAM, 0, replace=first.id)
    assert [False, False] == await made(first)
    assert None is await counters.grant(command)
    assert [True, True] == await made(second)


async def test_a_counter_that_another_replica_has_made_stays(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    await fill(counters, request(), RateUse(9, 9, 9, 9), prompt=9, completion=9)
    assert (RateUse(1, 30, 1, 30), BudgetUse(0, 0, 10, 20)) == await read(counters)


@pytest.mark.parametrize(
    ("period", "kept"),
    [(QuotaPeriod.LIFETIME, NOW + 32 * DAY_MILLISECONDS), (QuotaPeriod.DAY, NOW + 40 * 3_600_000)],
    ids=["life", "day"],
)
async def test_a_budget_is_kept_for_a_day_after_its_period_or_32_days(
    counters: RedisCounters, valkey: Server, period: QuotaPeriod, kept: int
) -> None:
    budget = Budget("q", period, total=100)
    await fill(counters, request(budget=budget))
    async with redis.Redis(port=valkey.port, password=valkey.password, protocol=2) as client:
        name = CounterKeys(TEAM).budget(budget, Moment(NOW).day)
        assert kept == await client.pexpiretime(name)


async def test_a_new_life_has_no_leases(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    first = await counters.open(TEAM, 0)
    await counters.open(TEAM, 9, replace=first.id)
    assert 0 == await counters.open_requests(TEAM)
    assert 0 == await counters.return_lost_leases(TEAM, Moment(NOW + 2 * 3_600_000))
    assert None is await counters.grant(request(2, budget=None))


async def test_counters_of_an_earlier_release_are_not_read_and_expire(counters: RedisCounters, valkey: Server) -> None:
    async with redis.Redis(port=valkey.port, password=valkey.password, protocol=2) as client:
        prefix = f"arks:{{{TEAM}}}:"
        await client.hset(prefix + "epoch", mapping={"id": "old", "cursor": 1_000_000})
        await client.hset(prefix + "rate:tom/qwen", mapping={"e": "old", "w": 0, "m": 0, "d": 0})
        await client.hset(prefix + "reservations", mapping={"r1": "20|10|1|1|k|b|1|tom|qwen|completions|q"})
        await client.hset(prefix + "leases", mapping={"lease1": "1|10|20|1|1|1|k|b|gateway"})
        assert None is await counters.grant(request())
        await fill(counters, request())
        assert 1 == (await grant(counters, request())).rate_use.minute_requests
        assert 0 < await client.ttl(prefix + "reservations") <= 86_400
        assert 0 < await client.ttl(prefix + "epoch") <= 86_400
        assert 0 < await client.ttl(prefix + "leases") <= 86_400
        assert 1 == await counters.open_requests(TEAM)


@pytest.mark.parametrize(
    ("later", "period"), [(NOW + DAY_MILLISECONDS, QuotaPeriod.DAY), (NOW, QuotaPeriod.MONTH)], ids=["day", "month"]
)
async def test_each_period_counts_apart(counters: RedisCounters, later: int, period: QuotaPeriod) -> None:
    """The month begins on the day of the first budget."""
    await fill(counters, request(budget=Budget("q", QuotaPeriod.DAY, total=10_000)), prompt=500)
    assert None is await counters.grant(request(now=later, budget=Budget("q", period, total=10_000)))


async def test_a_reset_counts_apart_from_what_was_before(counters: RedisCounters) -> None:
    await fill(counters, request(), prompt=500)
    assert 500 == (await grant(counters, request(1))).budget_use.used_prompt
    again = request(2, budget=Budget("q", generation=1, total=10_000))
    assert None is await counters.grant(again)
    await fill(counters, again)
    assert 0 == (await grant(counters, again)).budget_use.used_prompt
