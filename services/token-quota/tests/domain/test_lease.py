import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.resources import LimitType, QuotaType, RateLimitType
from arks.token_quota.domain.lease import (
    Hold,
    LeaseAmount,
    Validity,
    begins_in,
    lease_id,
    lease_validity,
    limit_hold,
    quota_of_lease,
    wanted,
)
from arks.token_quota.domain.limits import Account, Budget, Rates, RateUse, Violation, violations
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.domain.time import Moment
from arks.token_quota.testing.oracle import granted_extra

MINUTE_START = 1_800_000_000_000
TOKENS = ReservationRequest(10, 20, exact=True)


@pytest.mark.parametrize(("into_minute", "expected"), [(0, 1000), (59_000, 1000), (59_001, 999), (59_999, 1)])
def test_a_lease_lasts_a_second_but_not_past_its_minute(into_minute: int, expected: int) -> None:
    assert expected == lease_validity(Moment(MINUTE_START + into_minute)).shortest


@given(st.integers(min_value=0, max_value=2**42))
def test_a_lease_always_lies_in_the_minute_of_its_grant(milliseconds: int) -> None:
    shortest, longest = lease_validity(Moment(milliseconds))
    assert 1 <= shortest <= 1000
    assert shortest <= longest <= 60_000
    assert Moment(milliseconds).minute == Moment(milliseconds + longest - 1).minute


@pytest.mark.parametrize(
    ("into_minute", "remaining", "expected"),
    [
        (55_000, None, 0),
        (55_000, 5_000, 5_000),
        (55_000, 4_900, 5_000),  # it was cut by the end of the minute, and the clocks of the way differ
        (55_000, 5_300, 5_000),
        (55_000, 4_899, 0),
        (45_000, 15_000, 15_000),
        (44_999, 15_001, 0),
        (0, 30_000, 0),
    ],
)
def test_a_lease_after_one_that_ends_with_its_minute_begins_with_the_next(
    into_minute: int, remaining: int | None, expected: int
) -> None:
    assert expected == begins_in(Moment(MINUTE_START + into_minute), remaining)


def test_no_lease_begins_in_the_next_day() -> None:
    midnight = MINUTE_START - MINUTE_START % 86_400_000
    assert 0 == begins_in(Moment(midnight - 1000), 1000)
    assert 1000 == begins_in(Moment(midnight + 59_000), 1000)


def hold(rates: Rates, use: RateUse, into_minute: int, budget: Budget | None = None) -> Hold:
    now = Moment(MINUTE_START + into_minute)
    return limit_hold(violations(Account(rates, budget, use), TOKENS, now.seconds), now.seconds)


@pytest.mark.parametrize(
    ("rates", "use", "into_minute", "expected"),
    [
        (Rates(rpm=1), RateUse(1, 0, 1, 0), 123, Hold(1000, "model", 59_877)),
        (Rates(rpm=1), RateUse(1, 0, 1, 0), 59_877, Hold(123, "model", 123)),
        (Rates(rpd=1), RateUse(0, 0, 1, 0), 59_877, Hold(1000, "model", 57_540_123)),
        (Rates(rpm=1, rpd=1), RateUse(1, 0, 1, 0), 59_877, Hold(1000, "model", 57_540_123)),
        (Rates(rpm=1, tpm=5), RateUse(1, 5, 1, 5), 59_877, Hold(123, "model", 123)),
        (Rates(tpm=5), RateUse(0, 5, 0, 5), 123, Hold(100, "size", 59_877)),
        (Rates(tpm=5), RateUse(0, 5, 0, 5), 59_977, Hold(23, "size", 23)),
        (Rates(tpd=5), RateUse(0, 5, 0, 5), 59_977, Hold(100, "size", 57_540_023)),
    ],
)
def test_a_rejection_is_repeated_until_its_window_ends_at_most(
    rates: Rates, use: RateUse, into_minute: int, expected: Hold
) -> None:
    assert expected == hold(rates, use, into_minute)


def test_a_rejection_by_a_budget_is_repeated_to_requests_of_its_size() -> None:
    assert Hold(100, "size", 86_400_000) == hold(Rates(), RateUse(), 59_999, Budget("q", total=1))


@given(
    st.lists(
        st.builds(
            Violation,
            st.sampled_from([*RateLimitType, *QuotaType]),
            st.just(1),
            st.just(1),
            st.just(1),
            st.none() | st.integers(1, 86_400),
        ),
        min_size=1,
    ),
    st.integers(0, 86_400_000),
)
def test_a_rejection_is_never_repeated_for_more_than_a_second(broken: list[Violation], milliseconds: int) -> None:
    found = limit_hold(broken, milliseconds / 1000)
    assert 1 <= found.milliseconds <= 1000


demand_counts = st.integers(0, 10_000)


@given(
    st.builds(LeaseAmount, demand_counts, demand_counts, demand_counts),
    st.builds(Rates, *[st.none() | demand_counts] * 4),
    st.builds(lambda p, r, t: Budget("q", prompt=p, response=r, total=t), *[st.none() | demand_counts] * 3),
)
def test_a_lease_is_an_eighth_of_the_room_of_each_limit_at_most(
    demand: LeaseAmount, rates: Rates, budget: Budget
) -> None:
    extra, milliseconds = granted_extra(Account(rates, budget), demand, Validity(1000, 15_000))
    tokens = extra.prompt_tokens + extra.completion_tokens
    amounts: dict[LimitType, tuple[int, int | None]] = {
        RateLimitType.RPM: (extra.requests, rates.rpm),
        RateLimitType.RPD: (extra.requests, rates.rpd),
        RateLimitType.TPM: (tokens, rates.tpm),
        RateLimitType.TPD: (tokens, rates.tpd),
        QuotaType.PROMPT: (extra.prompt_tokens, budget.prompt),
        QuotaType.RESPONSE: (extra.completion_tokens, budget.response),
        QuotaType.TOTAL: (tokens, budget.total),
    }
    part = 128 if milliseconds > 1000 else 8
    assert all(limit is None or amount * part <= limit for amount, limit in amounts.values())
    assert all(got * 1000 <= needed * milliseconds for got, needed in zip(extra, demand, strict=True))


def test_without_limits_a_lease_is_what_is_needed_for_as_long_as_leases_last() -> None:
    account = Account(Rates())
    assert (LeaseAmount(30, 40, 50), 10_000) == granted_extra(account, LeaseAmount(3, 4, 5), Validity(1000, 10_000))
    assert (LeaseAmount(3, 4, 5), 700) == granted_extra(account, LeaseAmount(3, 4, 5), Validity(700, 700))
    assert (LeaseAmount(), 1000) == granted_extra(account, LeaseAmount(0, 4, 5), Validity(1000, 10_000))


@pytest.mark.parametrize(
    ("rpm", "expected"),
    [
        (1280, (LeaseAmount(10, 20, 30), 5000)),
        (256, (LeaseAmount(2, 4, 6), 1000)),
        (255, (LeaseAmount(2, 4, 6), 1000)),
        (15, (LeaseAmount(1, 2, 3), 1000)),
        (7, (LeaseAmount(), 1000)),
    ],
)
def test_the_nearer_a_limit_the_shorter_the_lease(rpm: int, expected: tuple[LeaseAmount, int]) -> None:
    assert expected == granted_extra(Account(Rates(rpm=rpm)), LeaseAmount(2, 4, 6), Validity(1000, 15_000))


def test_a_first_demand_is_for_requests_like_this_one() -> None:
    request = ReservationRequest(10, 2**31 - 1, exact=False)
    assert LeaseAmount(2, 20, 2**31 - 1) == wanted(LeaseAmount(2), request)
    assert LeaseAmount(2, 3, 0) == wanted(LeaseAmount(2, 3, 0), request)
    assert LeaseAmount() == wanted(LeaseAmount(), request)


def test_a_long_lease_ends_with_its_key_and_with_the_minute() -> None:
    noon = Moment(1_800_000_000_000)
    assert (1000, 60_000) == lease_validity(noon)
    assert (1000, 60_000) == lease_validity(noon, noon.seconds + 70)
    assert (1000, 40_000) == lease_validity(noon, noon.seconds + 40)
    assert (1000, 20_000) == lease_validity(Moment(noon.milliseconds + 40_000))
    assert (1000, 3000) == lease_validity(noon, noon.seconds + 3)
    assert (1000, 1000) == lease_validity(noon, noon.seconds + 0.5)
    assert (700, 700) == lease_validity(Moment(noon.milliseconds + 59_300))


@given(st.text("ad-.9", max_size=130))
def test_the_id_of_a_lease_names_its_budget_in_letters_that_gateways_accept(quota: str) -> None:
    id_ = lease_id("0f1", quota)
    assert re.fullmatch("[0-9a-z-]{1,253}", id_)
    assert (quota if len(id_) > 3 else None) == quota_of_lease(id_)


def test_a_lease_with_the_longest_name_of_a_budget_does_not_name_it() -> None:
    assert ("0f1", None) == (lease_id("0f1", 253 * "q"), quota_of_lease("0f1"))


@pytest.mark.parametrize("quota", ["", "team-budget", "a.b-c", "-".join("q" * 62), "q" * 249])
def test_a_lease_names_its_budget_as_long_as_that_fits(quota: str) -> None:
    """With each of its dashes and points doubled, or the requests are charged to the budget of a later permission."""
    assert quota == quota_of_lease(lease_id("0f1", quota))
