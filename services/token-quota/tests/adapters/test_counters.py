"""The scripts against a real Valkey: they decide as the domain does, and no client exceeds a limit by being fast."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from arks.kit.testing.servers import Server
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.redis_batches import RedisBatches
from arks.token_quota.domain.limits import Account, Budget, BudgetUse, Rates, RateUse
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.ports.counters import CountersUnavailable, ReserveCommand, ReserveResult
from arks.token_quota.service.ports.ledger import BudgetSums, LedgerEntry, WindowSums
from arks.token_quota.testing.oracle import granted_completion_tokens

pytestmark = pytest.mark.real

NOW = 1_800_000_000_000
TEAM = "team"
QUOTA = Budget("q", total=10_000)
TOKENS = ReservationRequest(10, 20, exact=True)


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
    now: int = NOW,
    namespace: str = TEAM,
) -> ReserveCommand:
    return ReserveCommand(
        request_id=f"request-{number}",
        namespace=namespace,
        token="tom",
        endpoint="qwen",
        operation="chat.completions",
        rates=rates or Rates(),
        budget=budget,
        tokens=tokens,
        now=Moment(now),
        deadline_milliseconds=now + 1000,
    )


async def fill(
    counters: RedisCounters, command: ReserveCommand, use: RateUse | None = None, prompt: int = 0, completion: int = 0
) -> None:
    epoch = await counters.open(command.namespace, 0)
    assert await counters.fill_rate(epoch, command, WindowSums(use or RateUse(), 0))
    assert await counters.fill_budget(epoch, command, BudgetSums(prompt, completion, 0))


async def reserve(counters: RedisCounters, command: ReserveCommand) -> ReserveResult:
    found = await counters.reserve(command)
    assert found is not None
    return found


def entry(seq: int, number: object = 1, prompt: int = 10, completion: int = 5, requests: int = 1) -> LedgerEntry:
    return LedgerEntry(seq, f"request-{number}", "tom", "qwen", "q", NOW, requests, prompt, completion)


counts = st.integers(min_value=0, max_value=60)
limits = st.none() | st.integers(min_value=0, max_value=60)
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


class _Numbers:
    used = 0


@given(account=accounts, tokens=requests)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_script_decides_as_the_domain_does(
    counters: RedisCounters, account: Account, tokens: ReservationRequest
) -> None:
    _Numbers.used += 1
    command = request(rates=account.rates, budget=account.budget, tokens=tokens, namespace=f"n{_Numbers.used}")
    await fill(counters, command, account.rate_use, account.budget_use.used_prompt, account.budget_use.used_completion)
    expected = granted_completion_tokens(account, tokens)
    found = await reserve(counters, command)
    assert (expected is not None) == found.granted
    if expected is None:
        spent = account.budget_use if account.budget else BudgetUse()
        assert (account.rate_use, spent) == (found.rate_use, found.budget_use)
    else:
        total = tokens.prompt_tokens + expected
        use = account.rate_use
        after = RateUse(
            use.minute_requests + 1, use.minute_tokens + total, use.day_requests + 1, use.day_tokens + total
        )
        assert (expected, after) == (found.completion_tokens, found.rate_use)
        assert (0 if account.budget is None else tokens.prompt_tokens) == found.budget_use.held_prompt


async def test_many_clients_through_two_replicas_never_pass_a_request_limit(
    counters: RedisCounters, valkey: Server
) -> None:
    other = connect(valkey)
    await fill(counters, request())
    found = await asyncio.gather(
        *(
            reserve(replica, request(f"{n}-{i}", rates=Rates(rpm=37)))
            for n in range(100)
            for i, replica in enumerate((counters, other))
        )
    )
    await other.close()
    assert 37 == sum(answer.granted for answer in found)


async def test_many_clients_never_reserve_more_of_a_budget_than_there_is(counters: RedisCounters) -> None:
    budget = Budget("q", total=1000)
    await fill(counters, request(budget=budget))
    found = await asyncio.gather(*(reserve(counters, request(n, budget=budget)) for n in range(100)))
    assert 33 == sum(answer.granted for answer in found)


async def test_without_counters_the_answer_is_to_make_them(counters: RedisCounters) -> None:
    assert None is await counters.reserve(request())


async def test_after_a_wipe_the_counters_are_missing(counters: RedisCounters, valkey: Server) -> None:
    await fill(counters, request())
    assert await counters.reserve(request(1)) is not None
    await valkey.kill()
    await valkey.restart()
    with pytest.raises(CountersUnavailable):
        await counters.reserve(request(2))
    assert None is await counters.reserve(request(2))


async def test_a_repeated_request_has_one_reservation(counters: RedisCounters) -> None:
    await fill(counters, request())
    first = await reserve(counters, request())
    again = await reserve(counters, request())
    assert (first.granted, first.completion_tokens) == (again.granted, again.completion_tokens)
    assert 1 == await counters.open_reservations(TEAM)
    assert 30 == (await reserve(counters, request(2))).rate_use.minute_tokens - 30


async def test_a_new_minute_starts_from_0_and_the_day_goes_on(counters: RedisCounters) -> None:
    await fill(counters, request())
    await reserve(counters, request(1))
    found = await reserve(counters, request(2, now=NOW + 60_000))
    assert RateUse(1, 30, 2, 60) == found.rate_use


async def test_a_clock_that_lags_counts_in_the_newer_window(counters: RedisCounters) -> None:
    await fill(counters, request(now=NOW + 60_000))
    await reserve(counters, request(1, now=NOW + 60_000))
    found = await reserve(counters, request(2, now=NOW))
    assert 2 == found.rate_use.minute_requests


async def test_settling_returns_the_difference_and_charges_the_budget(counters: RedisCounters) -> None:
    await fill(counters, request())
    await reserve(counters, request(1))
    assert 1 == await counters.apply(TEAM, 0, [(entry(1, completion=5), QUOTA)], Moment(NOW))
    found = await reserve(counters, request(2))
    assert BudgetUse(used_prompt=10, used_completion=5, held_prompt=10, held_completion=20) == found.budget_use
    assert RateUse(2, 15 + 30, 2, 15 + 30) == found.rate_use


async def test_the_same_entries_are_not_charged_twice(counters: RedisCounters) -> None:
    await fill(counters, request())
    await counters.apply(TEAM, 0, [(entry(1), QUOTA)], Moment(NOW))
    assert 1 == await counters.apply(TEAM, 0, [(entry(1), QUOTA)], Moment(NOW))
    found = await reserve(counters, request(2))
    assert (10, 5) == (found.budget_use.used_prompt, found.budget_use.used_completion)


async def test_entries_that_a_counter_was_made_from_are_not_charged_to_it_again(counters: RedisCounters) -> None:
    epoch = await counters.open(TEAM, 3)
    command = request()
    await counters.fill_rate(epoch, command, WindowSums(RateUse(1, 15, 1, 15), 5))
    await counters.fill_budget(epoch, command, BudgetSums(100, 200, 5))
    assert 6 == await counters.apply(TEAM, 3, [(entry(5), QUOTA), (entry(6, 2), QUOTA)], Moment(NOW))
    found = await reserve(counters, request(9))
    assert (110, 205) == (found.budget_use.used_prompt, found.budget_use.used_completion)
    assert RateUse(3, 15 + 15 + 30, 3, 15 + 15 + 30) == found.rate_use


async def test_sums_that_are_older_than_the_counters_are_refused(counters: RedisCounters) -> None:
    epoch = await counters.open(TEAM, 7)
    assert not await counters.fill_budget(epoch, request(), BudgetSums(1, 1, 6))


async def test_a_correction_changes_the_budget_by_its_difference(counters: RedisCounters) -> None:
    await fill(counters, request())
    charged = entry(1, prompt=10, completion=20)
    await counters.apply(TEAM, 0, [(charged, QUOTA)], Moment(NOW))
    await counters.apply(TEAM, 1, [(entry(2, prompt=-4, completion=-18, requests=0), QUOTA)], Moment(NOW))
    found = await reserve(counters, request(9))
    assert (6, 2) == (found.budget_use.used_prompt, found.budget_use.used_completion)
    assert 2 == found.rate_use.minute_requests


async def test_an_overrun_that_ends_in_a_later_minute_counts_there(counters: RedisCounters) -> None:
    await fill(counters, request())
    await reserve(counters, request(1))
    later = NOW + 60_000
    await counters.apply(TEAM, 0, [(entry(1, completion=120), QUOTA)], Moment(later))
    found = await reserve(counters, request(2, now=later))
    assert (1, 100 + 30) == (found.rate_use.minute_requests, found.rate_use.minute_tokens)


async def test_a_reservation_expires_into_what_it_held(counters: RedisCounters) -> None:
    await fill(counters, request())
    await reserve(counters, request(1))
    assert [] == await counters.expired(TEAM, Moment(NOW + 999), 10)
    (found,) = await counters.expired(TEAM, Moment(NOW + 1000), 10)
    assert ("request-1", "tom", "qwen", "q", NOW, 10, 20) == (
        found.request_id,
        found.token,
        found.endpoint,
        found.quota,
        found.started_at_milliseconds,
        found.prompt_tokens,
        found.completion_tokens,
    )


async def test_a_released_reservation_is_undone_entirely(counters: RedisCounters) -> None:
    await fill(counters, request())
    await reserve(counters, request(1))
    await counters.release(TEAM, ["request-1", "request-unknown"])
    found = await reserve(counters, request(2))
    assert (RateUse(1, 30, 1, 30), 10) == (found.rate_use, found.budget_use.held_prompt)
    assert 1 == await counters.open_reservations(TEAM)


async def test_a_life_is_replaced_only_by_who_knows_it(counters: RedisCounters) -> None:
    first = await counters.open(TEAM, 5)
    assert first == await counters.open(TEAM, 9)
    assert first == await counters.open(TEAM, 9, replace="another")
    assert 9 == (await counters.open(TEAM, 9, replace=first.id)).cursor


async def test_a_reset_counts_apart_from_what_was_before(counters: RedisCounters) -> None:
    await fill(counters, request(), prompt=500)
    assert 500 == (await reserve(counters, request(1))).budget_use.used_prompt
    again = request(2, budget=Budget("q", generation=1, total=10_000))
    assert None is await counters.reserve(again)
    await fill(counters, again)
    assert 0 == (await reserve(counters, again)).budget_use.used_prompt


async def test_a_dead_redis_is_an_error_at_once(counters: RedisCounters, valkey: Server) -> None:
    await fill(counters, request())
    await valkey.kill()
    with pytest.raises(CountersUnavailable):
        await counters.reserve(request(1))
