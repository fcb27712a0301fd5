"""The scripts against a real Valkey: they decide as the domain does, and no client exceeds a limit by being fast."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arks.kit.testing.servers import Server
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.domain.lease import LeaseAmount, Validity
from arks.token_quota.domain.limits import Account, Budget, BudgetUse, Rates, RateUse
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.service.ports.counters import CountersUnavailable
from arks.token_quota.testing.counters import NOW, connect, fill, grant, request
from arks.token_quota.testing.oracle import granted_completion_tokens, granted_extra, with_reserved

pytestmark = pytest.mark.real

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


held_amounts = st.none() | st.builds(LeaseAmount, st.just(1), counts, counts)
validities = st.builds(lambda short, more: Validity(short, short + more), st.integers(1, 1000), st.integers(0, 20_000))


@given(account=accounts, held=held_amounts, tokens=requests, demand=demands, validity=validities)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_script_decides_as_the_domain_does(
    counters: RedisCounters,
    *,
    account: Account,
    held: LeaseAmount | None,
    tokens: ReservationRequest,
    demand: LeaseAmount,
    validity: Validity,
) -> None:
    """`held`: what a lease holds already."""
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
    if held is not None:
        reserved = ReservationRequest(held.prompt_tokens, held.completion_tokens, exact=True)
        budget = None if account.budget is None else Budget("q")
        await grant(counters, request("held", budget=budget, tokens=reserved, namespace=command.namespace))
        account = with_reserved(account, held)
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
    granted = extra.requests + 1 if found.granted else 0
    assert granted + (held is not None) == await counters.open_requests(command.namespace)


@pytest.mark.parametrize("budget", [Budget("q", prompt=19), Budget("q", response=39), Budget("q", total=59)])
async def test_a_budget_has_no_room_for_what_leases_hold(counters: RedisCounters, budget: Budget) -> None:
    await fill(counters, request(budget=budget))
    assert [True, False] == [(await grant(counters, request(number, budget=budget))).granted for number in (1, 2)]


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


async def test_a_dead_redis_is_an_error_at_once(counters: RedisCounters, valkey: Server) -> None:
    await fill(counters, request())
    await valkey.kill()
    with pytest.raises(CountersUnavailable):
        await counters.grant(request(1))
