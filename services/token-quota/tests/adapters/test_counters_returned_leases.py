"""Leases that no gateway closes return to the counters on a real Valkey, once."""

import asyncio

import pytest

from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.domain.change import LedgerChange
from arks.token_quota.domain.lease import LeaseAmount
from arks.token_quota.domain.limits import BudgetUse, RateUse
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.ports.counters import ChangeWithBudgets
from arks.token_quota.testing.counters import NOW, TEAM, apply, change, closed, fill, grant, read, request

pytestmark = pytest.mark.real


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


async def test_the_latest_report_of_a_gateway_counts_whatever_order_its_changes_have(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    reports = (NOW + 1000 + 30_001, NOW)
    changes: list[ChangeWithBudgets] = [
        (LedgerChange(seq, seq - 1, "gateway", until, []), {}) for seq, until in enumerate(reports, start=1)
    ]
    await counters.apply(TEAM, 0, changes, Moment(NOW))
    assert 1 == await counters.return_lost_leases(TEAM, Moment(NOW + 40_000))


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


async def test_a_lease_whose_requests_have_all_ended_holds_the_rest_until_it_is_lost(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    await apply(counters, 1, change(1, reserved_prompt_tokens=4, reserved_completion_tokens=8, prompt_tokens=4))
    assert BudgetUse(4, 5, 6, 12) == (await read(counters))[1]
    assert 1 == await counters.return_lost_leases(TEAM, Moment(NOW + 2 * 3_600_000))
    assert BudgetUse(4, 5, 0, 0) == (await read(counters))[1]


async def test_closed_leases_are_never_lost(counters: RedisCounters) -> None:
    await fill(counters, request())
    await grant(counters, request(1))
    await apply(counters, 1, closed(1), complete_until=NOW + 100_000)
    assert (0, 1) == (
        await counters.return_lost_leases(TEAM, Moment(NOW + 10**8)),
        await counters.open_requests(TEAM),
    )
