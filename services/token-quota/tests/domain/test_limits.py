from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.resources import LimitType, QuotaPeriod, QuotaType, RateLimitType
from arks.token_quota.domain.limits import (
    Account,
    Budget,
    BudgetUse,
    Rates,
    RateUse,
    Remainder,
    remaining_requests,
    remaining_tokens,
    violations,
)
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.domain.time import period_end_seconds, period_start_day
from arks.token_quota.testing.oracle import granted_completion_tokens

NOON = datetime(2026, 2, 14, 12, 0, 30, tzinfo=UTC).timestamp()
SMALL = ReservationRequest(prompt_tokens=10, completion_tokens=20, exact=True)
OPEN_ENDED = ReservationRequest(prompt_tokens=10, completion_tokens=500, exact=False)


def rules(account: Account, tokens: ReservationRequest) -> list[LimitType]:
    return [violation.limit_type for violation in violations(account, tokens, NOON)]


def test_without_rules_everything_passes() -> None:
    assert 20 == granted_completion_tokens(Account(Rates()), SMALL)


@pytest.mark.parametrize("rule", ["rpm", "rpd", "tpm", "tpd"])
def test_a_rate_limit_of_0_lets_nothing_through(rule: str) -> None:
    account = Account(Rates(**{rule: 0}))
    assert (None, [RateLimitType(rule)]) == (granted_completion_tokens(account, SMALL), rules(account, SMALL))


@pytest.mark.parametrize("rule", ["rpm", "rpd", "tpm", "tpd"])
def test_one_rate_limit_makes_a_permission_limited(rule: str) -> None:
    assert Rates(**{rule: 0}).limited
    assert not Rates().limited


def test_a_violation_names_what_the_request_needs() -> None:
    account = Account(Rates(rpm=0, rpd=0, tpm=0, tpd=0), Budget("q", prompt=0, response=0, total=0))
    assert [1, 1, 30, 30, 10, 20, 30] == [violation.requested for violation in violations(account, SMALL, NOON)]


@pytest.mark.parametrize("rule", ["prompt", "response", "total"])
def test_a_budget_of_0_lets_nothing_through(rule: str) -> None:
    account = Account(Rates(), Budget("q", **{rule: 0}))  # type: ignore[arg-type]
    assert (None, [QuotaType(rule)]) == (granted_completion_tokens(account, SMALL), rules(account, SMALL))


def test_the_request_that_reaches_a_limit_exactly_passes_and_the_next_one_does_not() -> None:
    rates = Rates(rpm=5, tpm=100)
    assert 20 == granted_completion_tokens(Account(rates, rate_use=RateUse(4, 70, 4, 70)), SMALL)
    assert [RateLimitType.RPM, RateLimitType.TPM] == rules(Account(rates, rate_use=RateUse(5, 71, 5, 71)), SMALL)


def test_an_explicit_completion_fits_entirely_or_not_at_all() -> None:
    assert None is granted_completion_tokens(Account(Rates(tpm=29)), SMALL)


def test_an_open_ended_completion_shrinks_to_the_remaining_room() -> None:
    assert 90 == granted_completion_tokens(Account(Rates(tpm=100)), OPEN_ENDED)


def test_an_open_ended_completion_needs_room_for_one_token() -> None:
    assert 1 == granted_completion_tokens(Account(Rates(tpm=11)), OPEN_ENDED)
    assert None is granted_completion_tokens(Account(Rates(tpm=10)), OPEN_ENDED)


def test_what_is_held_counts_against_a_budget_like_what_is_used() -> None:
    budget = Budget("q", total=100)
    use = BudgetUse(used_prompt=20, used_completion=20, held_prompt=20, held_completion=20)
    assert 10 == granted_completion_tokens(Account(Rates(), budget, budget_use=use), OPEN_ENDED)


def test_an_embedding_passes_a_used_up_response_budget_but_not_one_of_0_prompt_tokens() -> None:
    embedding = ReservationRequest(10, 0, exact=True, min_completion_tokens=0)
    used_up = BudgetUse(used_completion=5)
    assert 0 == granted_completion_tokens(Account(Rates(), Budget("q", response=5), budget_use=used_up), embedding)
    assert None is granted_completion_tokens(Account(Rates(), Budget("q", prompt=0)), embedding)


def test_a_violation_has_limit_use_need_and_reset() -> None:
    (found,) = violations(Account(Rates(tpd=50), rate_use=RateUse(0, 0, 1, 30)), SMALL, NOON)
    assert (50, 30, 30, 12 * 3600 - 30) == (found.limit, found.used, found.requested, found.resets_after_seconds)


def test_a_budget_for_life_never_starts_again() -> None:
    (found,) = violations(Account(Rates(), Budget("q", total=1)), SMALL, NOON)
    assert (None, "q") == (found.resets_after_seconds, found.quota)


@given(st.integers(min_value=0, max_value=60_000))
def test_a_period_contains_its_day(day: int) -> None:
    date = datetime.fromtimestamp(day * 86400, UTC)
    month = datetime.fromtimestamp(period_start_day(QuotaPeriod.MONTH, day) * 86400, UTC)
    assert (date.year, date.month, 1) == (month.year, month.month, month.day)
    assert (day, 0) == (period_start_day(QuotaPeriod.DAY, day), period_start_day(QuotaPeriod.LIFETIME, day))
    end = datetime.fromtimestamp(period_end_seconds(QuotaPeriod.MONTH, day * 86400 + 5) or 0, UTC)
    assert (date.year + date.month // 12, date.month % 12 + 1, 1) == (end.year, end.month, end.day)


def test_the_remainder_is_that_of_the_tighter_window() -> None:
    use = RateUse(minute_requests=1, minute_tokens=10, day_requests=9, day_tokens=90)
    assert Remainder(10, 1, 12 * 3600 - 30) == remaining_requests(Rates(rpm=5, rpd=10), use, NOON)
    assert Remainder(50, 40, 30) == remaining_tokens(Rates(tpm=50, tpd=1000), use, NOON)


def test_what_remains_is_never_below_0() -> None:
    assert Remainder(50, 0, 30) == remaining_tokens(Rates(tpm=50), RateUse(minute_tokens=80), NOON)


def test_without_limits_there_is_no_remainder() -> None:
    assert None is remaining_requests(Rates(tpm=1), RateUse(), NOON)
