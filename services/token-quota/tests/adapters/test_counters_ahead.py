"""Leases for the next minute, granted in the present one, on a real Valkey."""

import pytest

from arks.token_quota.adapters.counters import RedisCounters
from arks.token_quota.domain.limits import Rates, RateUse
from arks.token_quota.domain.time import Moment
from arks.token_quota.service.ports.counters import GrantCommand
from arks.token_quota.testing.counters import NOW, apply, change, closed, fill, grant, read, request

pytestmark = pytest.mark.real


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


async def test_an_overrun_of_a_lease_ahead_counts_in_the_minute_of_its_end(counters: RedisCounters) -> None:
    following, minute = await ahead(counters)
    later = minute + 60_000
    assert (
        await grant(counters, following._replace(lease="lease3", now=Moment(later), begins_in_milliseconds=0))
    ).granted
    await apply(counters, 1, change(2, completion_tokens=50), now=later)
    assert RateUse(1, 60, 3, 120) == (await read(counters, later))[0]
