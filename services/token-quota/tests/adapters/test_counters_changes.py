"""Counters on a real Valkey follow the ledger: charges, closed leases, corrections, each once."""

import asyncio
import struct
from collections import Counter
from typing import Any

import pytest
import redis.asyncio as redis

from arks.kit.testing.servers import Server
from arks.token_quota.adapters.counter_keys import CounterKeys
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.domain.change import LedgerChange
from arks.token_quota.domain.lease import LeaseAmount
from arks.token_quota.domain.limits import BudgetUse, RateUse
from arks.token_quota.domain.time import DAY_MILLISECONDS, Moment
from arks.token_quota.service.ports.ledger import BudgetSums, WindowSums
from arks.token_quota.testing.counters import (
    NOW,
    QUOTA,
    TEAM,
    apply,
    change,
    closed,
    commands,
    connect,
    fill,
    grant,
    read,
    request,
)

pytestmark = pytest.mark.real


async def test_settling_returns_the_difference_and_charges_the_budget(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    assert 1 == await apply(counters, 1, change(1, completion_tokens=5))
    assert (RateUse(1, 15, 1, 15), BudgetUse(10, 5, 0, 0)) == await read(counters)


async def test_a_closed_lease_returns_what_no_request_took(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1, demand=LeaseAmount(9, 90, 180)))
    assert (RateUse(10, 300, 10, 300), BudgetUse(0, 0, 100, 200)) == await read(counters)
    ended = {"requests": 3, "reserved_prompt_tokens": 30, "reserved_completion_tokens": 60}
    await apply(counters, 1, change(1, **ended, prompt_tokens=30, completion_tokens=6))
    assert (RateUse(10, 246, 10, 246), BudgetUse(30, 6, 70, 140)) == await read(counters)
    await apply(counters, 2, closed(1, requests=5, prompt=50, completion=100))
    assert (RateUse(5, 96, 5, 96), BudgetUse(30, 6, 20, 40)) == await read(counters)
    assert 2 == await counters.open_requests(TEAM)
    await apply(counters, 3, change(1, requests=2, reserved_prompt_tokens=20, reserved_completion_tokens=40))
    assert (RateUse(5, 51, 5, 51), BudgetUse(40, 11, 0, 0)) == await read(counters)
    assert 0 == await counters.open_requests(TEAM)


async def test_a_request_that_started_after_its_lease_was_closed_is_counted(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1, demand=LeaseAmount(1, 10, 20)))
    await apply(counters, 1, closed(1, requests=1, prompt=10, completion=20))  # the other request has not ended
    await apply(counters, 2, change(1, completion_tokens=50))  # the late one: 60 tokens
    await apply(counters, 3, change(1, completion_tokens=5))
    assert (RateUse(2, 75, 2, 75), BudgetUse(20, 55, 0, 0)) == await read(counters)


async def test_requests_beyond_those_that_a_lease_holds_are_counted_in_the_change_that_names_them(
    counters: RedisCounters,
) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    three = {"requests": 3, "reserved_prompt_tokens": 30, "reserved_completion_tokens": 60}
    await apply(counters, 1, change(1, **three, prompt_tokens=30, completion_tokens=15))
    assert (RateUse(3, 45, 3, 45), BudgetUse(30, 15, 0, 0)) == await read(counters)


async def test_a_closed_lease_without_requests_holds_no_tokens_whatever_its_closing_returns(
    counters: RedisCounters,
) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    await apply(counters, 1, closed(1, requests=1, prompt=4, completion=8))
    assert (RateUse(0, 0, 0, 0), BudgetUse(0, 0, 0, 0)) == await read(counters)


async def test_an_overrun_of_the_last_request_of_a_closed_lease_counts_in_the_present_minute(
    counters: RedisCounters,
) -> None:
    await fill(counters, request())
    await grant(counters, request(1, demand=LeaseAmount(1, 10, 20)))
    await apply(counters, 1, closed(1, requests=1, prompt=4, completion=8))
    later = NOW + 60_000
    await apply(counters, 2, change(1, completion_tokens=50), now=later)
    assert (RateUse(0, 30, 1, 60), BudgetUse(10, 50, 0, 0)) == await read(counters, now=later)


async def test_a_request_that_comes_in_one_call_with_the_end_of_its_lease_is_one_of_an_unknown_lease(
    counters: RedisCounters,
) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    later = NOW + 60_000
    await apply(counters, 1, closed(1), change(1), change(1), now=later)
    assert (RateUse(0, 0, 2, 30), BudgetUse(20, 10, 0, 0)) == await read(counters, now=later)


async def test_usage_that_a_replica_with_an_earlier_clock_applies_ends_no_window(counters: RedisCounters) -> None:
    later, yesterday = NOW + 60_000, NOW - DAY_MILLISECONDS
    await fill(counters, request(now=later))
    await grant(counters, request(1, now=later))
    for seq, early in enumerate((NOW, yesterday), start=1):
        await apply(counters, seq, change("", minute=early // 60_000), now=early)
    assert RateUse(1, 30, 2, 45) == (await read(counters, now=later))[0]


@pytest.mark.parametrize(("completion_tokens", "counts"), [(5, 30), (50, 60)], ids=["less", "more"])
async def test_what_a_lease_of_yesterday_used_counts_today_only_beyond_its_reservation(
    counters: RedisCounters, completion_tokens: int, counts: int
) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    today = NOW + DAY_MILLISECONDS
    await grant(counters, request(2, now=today))
    await apply(counters, 1, change(1, completion_tokens=completion_tokens), now=today)
    assert RateUse(1, counts, 1, counts) == (await read(counters, now=today))[0]


async def test_leases_return_nothing_to_counters_that_were_made_after_them(
    counters: RedisCounters, valkey: Server
) -> None:
    await fill(counters, request())
    await grant(counters, request(1, demand=LeaseAmount(1, 10, 20)))
    keys = CounterKeys(TEAM)
    async with redis.Redis(port=valkey.port, password=valkey.password, protocol=2) as client:
        budget = keys.budget(QUOTA, Moment(NOW).day)
        assert 2 == await client.delete(keys.rates, budget)
        await apply(counters, 1, change(1))
        assert 0 == await client.exists(keys.rates, budget)
    await fill(counters, request())
    await apply(counters, 2, closed(1, 1, 10, 20))
    assert (RateUse(0, 0, 0, 0), BudgetUse(0, 0, 0, 0)) == await read(counters)


async def test_a_correction_makes_no_use_negative(counters: RedisCounters) -> None:
    await fill(counters, request(), prompt=5, completion=5)
    await apply(counters, 1, change("", requests=0, prompt_tokens=-10, completion_tokens=-20))
    assert (RateUse(0, 0, 0, 0), BudgetUse(0, 0, 0, 0)) == await read(counters)


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ({"requests": 1, "prompt_tokens": 0, "completion_tokens": 0}, (RateUse(1, 0, 1, 0), BudgetUse())),
        ({"requests": 0, "prompt_tokens": 3, "completion_tokens": 0}, (RateUse(0, 3, 0, 3), BudgetUse(3, 0))),
        ({"requests": 0, "prompt_tokens": 0, "completion_tokens": 3}, (RateUse(0, 3, 0, 3), BudgetUse(0, 3))),
    ],
    ids=["request", "prompt", "completion"],
)
async def test_each_kind_of_use_counts_without_the_others(
    counters: RedisCounters, used: dict[str, int], expected: tuple[RateUse, BudgetUse]
) -> None:
    await fill(counters, request())
    await apply(counters, 1, change("", **used))
    assert expected == await read(counters)


async def test_without_counters_no_change_is_applied(counters: RedisCounters) -> None:
    assert None is await apply(counters, 1, change(""))


async def test_a_charge_makes_no_budget_that_no_request_has_needed(counters: RedisCounters, valkey: Server) -> None:
    await fill(counters, request(budget=None))
    await apply(counters, 1, change(""))
    async with redis.Redis(port=valkey.port, password=valkey.password, protocol=2) as client:
        assert [] == await client.keys("*budget*")


async def test_a_request_of_an_unknown_lease_is_charged_entirely(counters: RedisCounters) -> None:
    await fill(counters, request())
    await apply(counters, 1, change(""), change("unknown"), closed("unknown", 7, 7, 7))
    assert (RateUse(2, 30, 2, 30), BudgetUse(20, 10, 0, 0)) == await read(counters)


async def test_a_request_without_a_lease_counts_in_the_windows_in_which_it_started(counters: RedisCounters) -> None:
    later, tomorrow = NOW + 60_000, NOW + DAY_MILLISECONDS
    await fill(counters, request(now=later))
    await apply(counters, 1, change(""), now=later)
    assert RateUse(0, 0, 1, 15) == (await read(counters, now=later))[0]
    await apply(counters, 2, change(""), now=tomorrow)
    assert RateUse(0, 0, 0, 0) == (await read(counters, now=tomorrow))[0]


async def test_a_lease_of_the_last_minute_returns_to_its_day_and_budget_only(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1, demand=LeaseAmount(1, 10, 20)))
    later = NOW + 60_000
    await apply(counters, 1, closed(1, 1, 10, 20), now=later)
    assert (RateUse(0, 0, 1, 30), BudgetUse(0, 0, 10, 20)) == await read(counters, now=later)


async def test_the_same_changes_are_not_charged_twice(counters: RedisCounters) -> None:
    await fill(counters, request())
    await apply(counters, 1, change(""))
    assert 1 == await apply(counters, 1, change(""))
    assert (RateUse(1, 15, 1, 15), BudgetUse(10, 5, 0, 0)) == await read(counters)


async def test_changes_after_others_that_the_counters_lack_are_not_charged(counters: RedisCounters) -> None:
    """Of a server that was killed and lost its last second: the cursor shows from where to go on."""
    await fill(counters, request())
    await apply(counters, 1, change(""))
    assert 1 == await apply(counters, 3, change(""))
    assert (RateUse(1, 15, 1, 15), BudgetUse(10, 5, 0, 0)) == await read(counters)


async def test_many_changes_are_applied_in_one_call(counters: RedisCounters) -> None:
    await fill(counters, request())
    changes = [(LedgerChange(seq, 0, "", 0, [change("")] * 200), {"q": QUOTA}) for seq in (4, 5, 9)]
    assert 9 == await counters.apply(TEAM, 0, changes, Moment(NOW))
    assert (RateUse(600, 9000, 600, 9000), BudgetUse(6000, 3000, 0, 0)) == await read(counters)


async def test_more_leases_and_tokens_than_one_command_takes_are_all_changed(
    counters: RedisCounters, valkey: Server
) -> None:
    epoch = await counters.open(TEAM, 0)
    commands_ = [request(number, budget=None)._replace(token=f"tom{number}") for number in range(1, 1102)]
    await asyncio.gather(*(counters.fill_rate(epoch, command, WindowSums(RateUse(), 0)) for command in commands_))
    await asyncio.gather(*(grant(counters, command) for command in commands_))
    await apply(counters, 1, *(closed(number) for number in range(1, 1102)))
    await apply(counters, 2, *(change(number) for number in range(1, 1102)))
    assert 0 == await counters.open_requests(TEAM)
    async with redis.Redis(port=valkey.port, password=valkey.password, protocol=2) as client:
        rates: Any = await client.hvals(CounterKeys(TEAM).rates)
        assert 0 == await client.zcard(CounterKeys(TEAM).lease_ends)
    assert {15.0: 1101} == Counter(struct.unpack("<10d", rate)[3] for rate in rates)


async def test_changes_of_many_tokens_cost_no_more_calls_than_those_of_one(
    counters: RedisCounters, valkey: Server
) -> None:
    await fill(counters, request())
    for command in (request(number)._replace(token=f"tom{number}") for number in range(1, 101)):
        await fill(counters, command)
        await grant(counters, command)
    ended = [change(number) for number in range(1, 101)]
    async with redis.Redis(port=valkey.port, password=valkey.password, protocol=2) as client:
        before = await commands(client)
        await apply(counters, 1, *ended)
        assert await commands(client) - before < 20
    assert 0 == (await read(counters))[1].held_completion


async def test_changes_that_another_replica_applied_are_skipped(counters: RedisCounters, valkey: Server) -> None:
    other = connect(valkey)
    await fill(counters, request())
    await apply(other, 1, change(""))
    await apply(other, 2, change(""))
    await other.close()
    assert 2 == await apply(counters, 1, change(""))
    assert RateUse(2, 30, 2, 30) == (await read(counters))[0]


async def test_changes_that_a_counter_was_made_from_are_not_charged_to_it_again(counters: RedisCounters) -> None:
    epoch = await counters.open(TEAM, 3)
    command = request()
    await counters.fill_rate(epoch, command, WindowSums(RateUse(1, 15, 1, 15), 5))
    await counters.fill_budget(epoch, command, BudgetSums(100, 200, 5))
    changes = [(LedgerChange(seq, 0, "", 0, [change("")]), {"q": QUOTA}) for seq in (5, 6)]
    assert 6 == await counters.apply(TEAM, 3, changes, Moment(NOW))
    assert (RateUse(2, 30, 2, 30), BudgetUse(110, 205, 0, 0)) == await read(counters)


async def test_sums_that_are_older_than_the_counters_are_refused(counters: RedisCounters) -> None:
    epoch = await counters.open(TEAM, 7)
    assert not await counters.fill_budget(epoch, request(), BudgetSums(1, 1, 6))


async def test_a_correction_changes_the_budget_by_its_difference(counters: RedisCounters) -> None:
    await fill(counters, request())
    await apply(counters, 1, change("", completion_tokens=20))
    nothing = {"requests": 0, "reserved_prompt_tokens": 0, "reserved_completion_tokens": 0}
    await apply(counters, 2, change("", **nothing, prompt_tokens=-4, completion_tokens=-18))
    assert (RateUse(1, 8, 1, 8), BudgetUse(6, 2, 0, 0)) == await read(counters)


async def test_an_overrun_that_ends_in_a_later_minute_counts_there(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    later = NOW + 60_000
    await apply(counters, 1, change(1, completion_tokens=120), now=later)
    assert RateUse(0, 100, 1, 130) == (await read(counters, now=later))[0]


async def test_a_stream_that_outlasts_its_reservation_counts_in_the_minute_of_its_end(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    expired, ended = NOW + 660_000, NOW + 720_000
    await apply(counters, 1, change(1, completion_tokens=20), closed(1), now=expired)
    nothing = {"requests": 0, "reserved_prompt_tokens": 0, "reserved_completion_tokens": 0}
    await apply(counters, 2, change("", **nothing, prompt_tokens=2, completion_tokens=900), now=ended)
    assert (RateUse(0, 902, 1, 932), BudgetUse(12, 920, 0, 0)) == await read(counters, now=ended)
