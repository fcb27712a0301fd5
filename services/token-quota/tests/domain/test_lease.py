import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.resources import LimitType, QuotaType, RateLimitType
from arks.token_quota.domain.lease import Hold, LeaseAmount, lease_milliseconds, limit_hold
from arks.token_quota.domain.limits import Account, Budget, Rates, RateUse, Violation, violations
from arks.token_quota.domain.reservation import ReservationRequest
from arks.token_quota.domain.time import Moment
from arks.token_quota.testing.oracle import granted_extra

MINUTE_START = 1_800_000_000_000
TOKENS = ReservationRequest(10, 20, exact=True)


@pytest.mark.parametrize(("into_minute", "expected"), [(0, 1000), (59_000, 1000), (59_001, 999), (59_999, 1)])
def test_a_lease_lasts_a_second_but_not_past_its_minute(into_minute: int, expected: int) -> None:
    assert expected == lease_milliseconds(Moment(MINUTE_START + into_minute))


@given(st.integers(min_value=0, max_value=2**42))
def test_a_lease_always_lies_in_the_minute_of_its_grant(milliseconds: int) -> None:
    valid = lease_milliseconds(Moment(milliseconds))
    assert 1 <= valid <= 1000
    assert Moment(milliseconds).minute == Moment(milliseconds + valid - 1).minute


def hold(rates: Rates, use: RateUse, into_minute: int, budget: Budget | None = None) -> Hold:
    now = Moment(MINUTE_START + into_minute)
    return limit_hold(violations(Account(rates, budget, use), TOKENS, now.seconds), now.seconds)


@pytest.mark.parametrize(
    ("rates", "use", "into_minute", "expected"),
    [
        (Rates(rpm=1), RateUse(1, 0, 1, 0), 123, Hold(1000, "model")),
        (Rates(rpm=1), RateUse(1, 0, 1, 0), 59_877, Hold(123, "model")),
        (Rates(rpd=1), RateUse(0, 0, 1, 0), 59_877, Hold(1000, "model")),
        (Rates(rpm=1, rpd=1), RateUse(1, 0, 1, 0), 59_877, Hold(1000, "model")),
        (Rates(rpm=1, tpm=5), RateUse(1, 5, 1, 5), 59_877, Hold(123, "model")),
        (Rates(tpm=5), RateUse(0, 5, 0, 5), 123, Hold(100, "size")),
        (Rates(tpm=5), RateUse(0, 5, 0, 5), 59_977, Hold(23, "size")),
        (Rates(tpd=5), RateUse(0, 5, 0, 5), 59_977, Hold(100, "size")),
    ],
)
def test_a_rejection_is_repeated_until_its_window_ends_at_most(
    rates: Rates, use: RateUse, into_minute: int, expected: Hold
) -> None:
    assert expected == hold(rates, use, into_minute)


def test_a_rejection_by_a_budget_is_repeated_to_requests_of_its_size() -> None:
    assert Hold(100, "size") == hold(Rates(), RateUse(), 59_999, Budget("q", total=1))


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
    extra = granted_extra(Account(rates, budget), demand)
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
    assert all(limit is None or amount * 8 <= limit for amount, limit in amounts.values())
    assert all(got <= wanted for got, wanted in zip(extra, demand, strict=True))


def test_without_limits_a_lease_is_what_is_needed() -> None:
    assert LeaseAmount(3, 4, 5) == granted_extra(Account(Rates()), LeaseAmount(3, 4, 5))
    assert LeaseAmount() == granted_extra(Account(Rates()), LeaseAmount(3, 0, 5))
