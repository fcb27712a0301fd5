"""Grants that are requested at the same time: one call of Redis for all of them decides as one call for each would."""

import asyncio
import itertools
from typing import NamedTuple

import pytest
import redis.asyncio as redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arks.kit.testing.servers import Server
from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.adapters.gathered import MAX_TOGETHER
from arks.token_quota.domain.lease import LeaseAmount
from arks.token_quota.domain.limits import Budget, Rates
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.service.ports.counters import GrantCommand, GrantResult
from arks.token_quota.testing.counters import NOW, commands, fill, read, request

pytestmark = pytest.mark.real

MINUTE = 60_000
NEXT_MINUTE = NOW - NOW % MINUTE + MINUTE
TOKENS = ("tom", "ann")
BUDGETS = (None, Budget("q", total=200), Budget("p", prompt=150, response=90))
numbers = itertools.count()


class Call(NamedTuple):
    token: str
    budget: Budget | None
    rates: Rates
    tokens: ReservationRequest
    demand: LeaseAmount
    late: int
    ahead: bool

    def command(self, number: int, namespace: str) -> GrantCommand:
        now = NEXT_MINUTE - 1000 + self.late
        made = request(number, rates=self.rates, budget=self.budget, tokens=self.tokens, demand=self.demand, now=now)
        begins = max(0, NEXT_MINUTE - now) if self.ahead else 0
        return made._replace(namespace=namespace, token=self.token, begins_in_milliseconds=begins)


limits = st.none() | st.integers(0, 20)
token_limits = st.none() | st.integers(0, 300)
amounts = st.integers(0, 30)
calls = st.builds(
    Call,
    st.sampled_from(TOKENS),
    st.sampled_from(BUDGETS),
    st.builds(Rates, limits, limits, token_limits, token_limits),
    st.builds(lambda p, c, exact: ReservationRequest(p, c, exact, min(c, 1)), amounts, amounts, st.booleans()),
    st.builds(LeaseAmount, st.integers(0, 5), amounts, amounts),
    st.integers(0, 2000),
    st.booleans(),
)


@given(st.lists(calls, min_size=2, max_size=12))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_grants_together_decide_as_grants_one_after_the_other(counters: RedisCounters, made: list[Call]) -> None:
    number = next(numbers)
    apart, together = (f"{kind}{number}" for kind in ("apart", "together"))
    for namespace in (apart, together):
        for token, budget in itertools.product(TOKENS, BUDGETS):
            await fill(counters, request(budget=budget, namespace=namespace)._replace(token=token))
    expected = [await counters.grant(call.command(at, apart)) for at, call in enumerate(made)]
    found = await asyncio.gather(*(counters.grant(call.command(at, together)) for at, call in enumerate(made)))
    assert expected == found
    for token, budget in itertools.product(TOKENS, BUDGETS):
        assert await uses(counters, apart, token, budget) == await uses(counters, together, token, budget)
    assert await counters.open_requests(apart) == await counters.open_requests(together)


async def uses(counters: RedisCounters, namespace: str, token: str, budget: Budget | None) -> list[GrantResult | None]:
    """In both minutes, read by requests that are refused."""
    most = Rates(rpm=0)
    queries = [request("read", rates=most, budget=budget, now=now) for now in (NOW, NEXT_MINUTE)]
    return [await counters.grant(command._replace(namespace=namespace, token=token)) for command in queries]


async def test_grants_together_cost_no_more_commands_than_one(counters: RedisCounters, valkey: Server) -> None:
    made = [request(number)._replace(token=f"tom{number}") for number in range(MAX_TOGETHER)]
    for command in made:
        await fill(counters, command)
    async with redis.Redis(port=valkey.port, password=valkey.password, protocol=2) as client:
        before = await commands(client)
        await asyncio.gather(*map(counters.grant, made))
        assert await commands(client) - before < 12


async def test_a_missing_counter_delays_no_other_grant(counters: RedisCounters) -> None:
    await fill(counters, request())
    new = request(2)._replace(token="ann")
    found = await asyncio.gather(counters.grant(request()), counters.grant(new))
    assert found[0] is not None
    assert found[0].granted
    assert found[1] is None
    assert 1 == (await read(counters))[0].minute_requests
