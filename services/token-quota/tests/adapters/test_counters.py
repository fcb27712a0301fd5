"""The scripts against a real Valkey: they decide as the domain does, and no client exceeds a limit by being fast."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio as redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from arks.kit.testing.servers import Server
from arks.token_quota.adapters.counter_keys import CounterKeys
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.domain.change import LeaseChange, LedgerChange
from arks.token_quota.domain.lease import LeaseAmount, Validity
from arks.token_quota.domain.limits import Account, Budget, BudgetUse, Rates, RateUse
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.domain.time import DAY_MILLISECONDS, Moment
from arks.token_quota.service.ports.counters import CountersUnavailable, GrantCommand, GrantResult
from arks.token_quota.service.ports.ledger import BudgetSums, WindowSums
from arks.token_quota.testing.oracle import granted_completion_tokens, granted_extra, with_reserved

pytestmark = pytest.mark.real

NOW = 1_800_000_000_000
TEAM = "team"
QUOTA = Budget("q", total=10_000)
TOKENS = ReservationRequest(10, 20, exact=True)
NO_DEMAND = LeaseAmount()
SECOND = Validity(1000, 1000)


@pytest_asyncio.fixture
async def counters(valkey: Server) -> AsyncIterator[RedisCounters]:
    made = connect(valkey)
    yield made
    await made.close()


def connect(valkey: Server) -> RedisCounters:
    batches = RedisBatches(f"redis://127.0.0.1:{valkey.port}/0", valkey.password, timeout_seconds=10)
    return RedisCounters(batches, CollectorRegistry(), retry_pause_seconds=0.0)


def request(
    number: object = 1,
    *,
    rates: Rates | None = None,
    budget: Budget | None = QUOTA,
    tokens: ReservationRequest = TOKENS,
    demand: LeaseAmount = NO_DEMAND,
    now: int = NOW,
    namespace: str = TEAM,
    validity: Validity = SECOND,
    begins: int = 0,
) -> GrantCommand:
    return GrantCommand(
        lease=f"lease{number}",
        gateway="gateway",
        namespace=namespace,
        token="tom",
        endpoint="qwen",
        rates=rates or Rates(),
        budget=budget,
        tokens=tokens,
        demand=demand,
        now=Moment(now),
        validity=validity,
        begins_in_milliseconds=begins,
    )


async def fill(
    counters: RedisCounters, command: GrantCommand, use: RateUse | None = None, prompt: int = 0, completion: int = 0
) -> None:
    epoch = await counters.open(command.namespace, 0)
    assert await counters.fill_rate(epoch, command, WindowSums(use or RateUse(), 0))
    assert await counters.fill_budget(epoch, command, BudgetSums(prompt, completion, 0))


async def grant(counters: RedisCounters, command: GrantCommand) -> GrantResult:
    found = await counters.grant(command)
    assert found is not None
    return found


def change(number: object = 1, **fields: Any) -> LeaseChange:
    """By default one request of the lease, which had reserved TOKENS, has ended."""
    ended = {
        "requests": 1,
        "reserved_prompt_tokens": 10,
        "reserved_completion_tokens": 20,
        "prompt_tokens": 10,
        "completion_tokens": 5,
    }
    lease = f"lease{number}" if number else ""
    return LeaseChange(lease, "tom", "qwen", "q", NOW // 60_000, **(ended | fields))


def closed(number: object = 1, requests: int = 0, prompt: int = 0, completion: int = 0) -> LeaseChange:
    unused = {"unused_requests": requests, "unused_prompt_tokens": prompt, "unused_completion_tokens": completion}
    return LeaseChange(f"lease{number}", "", "", "", 0, closed=True, **unused)


async def apply(
    counters: RedisCounters, seq: int, *changes: LeaseChange, now: int = NOW, complete_until: int = 0
) -> int | None:
    """A change of the ledger that follows change `seq` - 1."""
    ledger_change = LedgerChange(seq, seq - 1, "gateway", complete_until, list(changes))
    return await counters.apply(TEAM, seq - 1, [(ledger_change, {"q": QUOTA})], Moment(now))


async def read(counters: RedisCounters, now: int = NOW) -> tuple[RateUse, BudgetUse]:
    """The counters, read by a request that they reject."""
    found = await grant(counters, request("read", tokens=ReservationRequest(10**9, 0, exact=True), now=now))
    assert not found.granted
    return found.rate_use, found.budget_use


counts = st.integers(min_value=0, max_value=60)
limits = st.none() | st.integers(min_value=0, max_value=120) | st.integers(10**3, 10**5)
accounts = st.builds(
    Account,
    st.builds(Rates, limits, limits, limits, limits),
    st.none() | st.builds(lambda p, r, t: Budget("q", prompt=p, response=r, total=t), limits, limits, limits),
    st.builds(RateUse, counts, counts, counts, counts),
    st.builds(BudgetUse, counts, counts, st.just(0), st.just(0)),
)
requests = st.builds(
    lambda prompt, completion, exact, least: ReservationRequest(prompt, completion, exact, min(least, completion)),
    counts,
    counts,
    st.booleans(),
    st.integers(min_value=0, max_value=3),
)
demands = st.builds(LeaseAmount, st.integers(0, 20), st.integers(0, 2**31 - 1) | counts, counts)


class _Numbers:
    used = 0


validities = st.builds(lambda short, more: Validity(short, short + more), st.integers(1, 1000), st.integers(0, 20_000))


@given(account=accounts, tokens=requests, demand=demands, validity=validities)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_script_decides_as_the_domain_does(
    counters: RedisCounters, account: Account, tokens: ReservationRequest, demand: LeaseAmount, validity: Validity
) -> None:
    _Numbers.used += 1
    command = request(
        rates=account.rates,
        budget=account.budget,
        tokens=tokens,
        demand=demand,
        namespace=f"n{_Numbers.used}",
        validity=validity,
    )
    await fill(counters, command, account.rate_use, account.budget_use.used_prompt, account.budget_use.used_completion)
    completion, extra, milliseconds = granted_completion_tokens(account, tokens), LeaseAmount(), 0
    after = account
    if completion is not None:
        after = with_reserved(account, LeaseAmount(1, tokens.prompt_tokens, completion))
        extra, milliseconds = granted_extra(after, demand, validity)
        after = with_reserved(after, extra)
    found = await grant(counters, command)
    assert (completion is not None, extra, milliseconds) == (found.granted, found.extra, found.milliseconds)
    assert completion is None or completion == found.completion_tokens
    assert (after.rate_use, after.budget_use if account.budget else BudgetUse()) == (found.rate_use, found.budget_use)
    assert await counters.open_requests(command.namespace) == (extra.requests + 1 if found.granted else 0)


async def ahead(counters: RedisCounters) -> tuple[GrantCommand, int]:
    """Use up a limit of 1 request a minute in a minute and ahead in the next one, which begins at the returned time."""
    late, minute = NOW + 55_000, NOW + 60_000
    rates = Rates(rpm=1, rpd=10)
    command = request(rates=rates, now=late)
    await fill(counters, command)
    assert (await grant(counters, command)).granted
    following = request(2, rates=rates, now=late, begins=minute - late)
    found = await grant(counters, following)
    assert (True, RateUse(1, 30, 2, 60)) == (found.granted, found.rate_use)
    assert RateUse(1, 30, 2, 60) == (await read(counters, late))[0]  # of the present minute
    return following, minute


async def test_a_lease_for_the_next_minute_counts_in_that_one_only(counters: RedisCounters) -> None:
    following, minute = await ahead(counters)
    assert not (await grant(counters, following)).granted
    assert RateUse(1, 30, 2, 60) == (await read(counters, minute))[0]
    present = following._replace(now=Moment(minute), begins_in_milliseconds=0)
    assert not (await grant(counters, present)).granted


async def test_usage_that_arrives_as_a_minute_begins_keeps_what_was_leased_ahead(
    counters: RedisCounters,
) -> None:
    _, minute = await ahead(counters)
    await apply(counters, 1, change(1), now=minute)
    assert RateUse(1, 30, 2, 45) == (await read(counters, minute))[0]


async def test_what_a_lease_ahead_did_not_use_returns_to_its_minute(counters: RedisCounters) -> None:
    following, minute = await ahead(counters)
    await apply(counters, 1, closed(2, 1, 10, 20), now=minute - 1)  # by a gateway whose clock is ahead
    assert RateUse(0, 0, 1, 30) == (await read(counters, minute))[0]
    assert (await grant(counters, following._replace(lease="lease3", now=Moment(minute)))).granted


async def test_a_lease_is_an_eighth_of_the_room_at_most_and_keeps_its_proportions(counters: RedisCounters) -> None:
    await fill(counters, request())
    demand = LeaseAmount(100, 1000, 2000)
    found = await grant(counters, request(rates=Rates(rpm=81), demand=demand))
    assert LeaseAmount(10, 100, 200) == found.extra
    assert RateUse(11, 330, 11, 330) == found.rate_use
    assert BudgetUse(held_prompt=110, held_completion=220) == found.budget_use


async def test_near_a_limit_a_lease_is_the_request_alone(counters: RedisCounters) -> None:
    await fill(counters, request())
    found = await grant(counters, request(rates=Rates(rpm=8), demand=LeaseAmount(100, 1000, 2000)))
    assert (True, LeaseAmount(), 1) == (found.granted, found.extra, found.rate_use.minute_requests)


async def test_many_clients_through_two_replicas_never_pass_a_request_limit(
    counters: RedisCounters, valkey: Server
) -> None:
    other = connect(valkey)
    await fill(counters, request())
    found = await asyncio.gather(
        *(
            grant(replica, request(f"{n}-{i}", rates=Rates(rpm=37)))
            for n in range(100)
            for i, replica in enumerate((counters, other))
        )
    )
    await other.close()
    assert 37 == sum(answer.granted for answer in found)


async def test_many_clients_never_reserve_more_of_a_budget_than_there_is(counters: RedisCounters) -> None:
    budget = Budget("q", total=1000)
    await fill(counters, request(budget=budget))
    found = await asyncio.gather(*(grant(counters, request(n, budget=budget)) for n in range(100)))
    assert 33 == sum(answer.granted for answer in found)


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


async def test_a_new_minute_starts_from_0_and_the_day_goes_on(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    found = await grant(counters, request(2, now=NOW + 60_000))
    assert RateUse(1, 30, 2, 60) == found.rate_use


async def test_a_clock_that_lags_counts_in_the_newer_window(counters: RedisCounters) -> None:
    await fill(counters, request(now=NOW + 60_000))
    await grant(counters, request(1, now=NOW + 60_000))
    found = await grant(counters, request(2, now=NOW))
    assert 2 == found.rate_use.minute_requests


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


async def test_a_request_of_an_unknown_lease_is_charged_entirely(counters: RedisCounters) -> None:
    await fill(counters, request())
    await apply(counters, 1, change(""), change("unknown"), closed("unknown", 7, 7, 7))
    assert (RateUse(2, 30, 2, 30), BudgetUse(20, 10, 0, 0)) == await read(counters)


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


async def test_many_changes_are_applied_in_one_call(counters: RedisCounters) -> None:
    await fill(counters, request())
    changes = [(LedgerChange(seq, 0, "", 0, [change("")] * 200), {"q": QUOTA}) for seq in (4, 5, 9)]
    assert 9 == await counters.apply(TEAM, 0, changes, Moment(NOW))
    assert (RateUse(600, 9000, 600, 9000), BudgetUse(6000, 3000, 0, 0)) == await read(counters)


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


async def commands(client: "redis.Redis") -> int:
    """That Valkey has run, those inside of scripts included."""
    statistics = await client.info("commandstats")
    return sum(found["calls"] for name, found in statistics.items() if name != "cmdstat_info")


async def test_rates_that_no_request_used_for_days_are_forgotten(counters: RedisCounters, valkey: Server) -> None:
    await fill(counters, request())
    await counters.return_lost_leases(TEAM, Moment(NOW + 2 * DAY_MILLISECONDS))
    async with redis.Redis(port=valkey.port, password=valkey.password, protocol=2) as client:
        assert 1 == await client.hlen(CounterKeys(TEAM).rates)
        await counters.return_lost_leases(TEAM, Moment(NOW + 3 * DAY_MILLISECONDS))
        assert 0 == await client.hlen(CounterKeys(TEAM).rates)


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


async def test_a_lease_whose_answer_was_lost_is_returned_once_its_gateway_has_reported(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1, demand=LeaseAmount(4, 40, 80)))
    end = NOW + 1000
    await apply(counters, 1, complete_until=end + 30_000)
    later = Moment(end + 40_000)
    assert (0, 5) == (await counters.return_lost_leases(TEAM, later), await counters.open_requests(TEAM))
    await apply(counters, 2, complete_until=end + 30_001)
    await apply(counters, 3, complete_until=end)  # an older message that came late
    assert (1, 0) == (await counters.return_lost_leases(TEAM, later), await counters.open_requests(TEAM))
    assert (RateUse(0, 0, 0, 0), BudgetUse(0, 0, 0, 0)) == await read(counters)
    assert 0 == await counters.return_lost_leases(TEAM, later)


async def test_a_lease_whose_answer_was_not_sent_is_returned_at_once_and_once(counters: RedisCounters) -> None:
    await fill(counters, request())
    first, second = request(1, demand=LeaseAmount(4, 40, 80)), request(2)
    await grant(counters, first)
    await grant(counters, second)
    for _ in range(2):
        await counters.return_unsent_lease(TEAM, first.lease, Moment(NOW))
    assert 1 == await counters.open_requests(TEAM)
    assert (RateUse(1, 30, 1, 30), BudgetUse(0, 0, 10, 20)) == await read(counters)
    await counters.return_unsent_lease(TEAM, second.lease, Moment(NOW))
    assert (RateUse(0, 0, 0, 0), BudgetUse(0, 0, 0, 0)) == await read(counters)


async def test_a_lease_of_a_gateway_that_never_reports_is_returned_after_an_hour(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    end = NOW + 1000
    assert 0 == await counters.return_lost_leases(TEAM, Moment(end + 3_600_000))
    assert 1 == await counters.return_lost_leases(TEAM, Moment(end + 3_600_001))


async def test_more_lost_leases_than_one_call_looks_at_are_all_returned(counters: RedisCounters) -> None:
    await fill(counters, request())
    waiting = [request(f"w{n}", budget=None)._replace(gateway="silent") for n in range(600)]
    lost = [request(f"l{n}", budget=None, now=NOW + 1) for n in range(700)]
    await asyncio.gather(*(grant(counters, command) for command in (*waiting, *lost)))
    await apply(counters, 1, complete_until=NOW + 100_000)
    assert 700 == await counters.return_lost_leases(TEAM, Moment(NOW + 100_000))
    assert 600 == await counters.open_requests(TEAM)


async def test_closed_leases_are_never_lost(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    await apply(counters, 1, closed(1), complete_until=NOW + 100_000)
    assert (0, 1) == (
        await counters.return_lost_leases(TEAM, Moment(NOW + 10**8)),
        await counters.open_requests(TEAM),
    )


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


async def test_a_new_life_has_no_leases(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    first = await counters.open(TEAM, 0)
    await counters.open(TEAM, 9, replace=first.id)
    assert 0 == await counters.open_requests(TEAM)
    assert None is await counters.grant(request(2))


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


async def test_a_reset_counts_apart_from_what_was_before(counters: RedisCounters) -> None:
    await fill(counters, request(), prompt=500)
    assert 500 == (await grant(counters, request(1))).budget_use.used_prompt
    again = request(2, budget=Budget("q", generation=1, total=10_000))
    assert None is await counters.grant(again)
    await fill(counters, again)
    assert 0 == (await grant(counters, again)).budget_use.used_prompt


async def test_a_dead_redis_is_an_error_at_once(counters: RedisCounters, valkey: Server) -> None:
    await fill(counters, request())
    await valkey.kill()
    with pytest.raises(CountersUnavailable):
        await counters.grant(request(1))
