import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.token_quota.domain import answers
from arks.token_quota.domain.answers import Rejection, over_limit
from arks.token_quota.domain.headers import duration_text
from arks.token_quota.domain.limits import Account, Budget, BudgetUse, Rates, RateUse, violations
from arks.token_quota.domain.reservation import ReservationRequest

NOW = 1_800_000_030.0
TOKENS = ReservationRequest(10, 20, exact=True)


def error(rejection: Rejection) -> dict[str, object]:
    found = json.loads(rejection.body)["error"]
    assert {"message", "type", "param", "code"} <= set(found)
    return dict(found)


def limited(account: Account, tokens: ReservationRequest = TOKENS) -> Rejection:
    return over_limit(violations(account, tokens, NOW), account.rates, account.rate_use, NOW)


def test_a_rejection_of_an_endpoint_that_is_not_ready_has_retry_after_and_reason() -> None:
    rejection = answers.endpoint_not_ready("qwen", "no replica is ready")
    assert ("5", True) == (dict(rejection.headers)["retry-after"], "no replica is ready" in rejection.message)


def test_over_a_rate_limit_is_429_with_everything_needed_to_come_back() -> None:
    rejection = limited(Account(Rates(rpm=5, tpm=1000), rate_use=RateUse(5, 100, 5, 100)))
    assert (429, "rate_limit_exceeded", "requests") == (rejection.status, rejection.code, rejection.type)
    assert {
        "x-error-rate-limit": "true",
        "retry-after": "30",
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "900",
        "x-ratelimit-reset-tokens": "30s",
    } == dict(rejection.headers)
    assert [{"rule": "rpm", "limit": 5, "used": 5, "requested": 1, "resetsAfterSeconds": 30}] == error(rejection)[
        "details"
    ]


def test_a_rejection_names_the_broken_limit_that_lasts_longest() -> None:
    rejection = limited(Account(Rates(rpm=1, rpd=1), rate_use=RateUse(1, 0, 1, 0)))
    assert ("rpd", 86_400 - int(NOW) % 86_400) == (rejection.reason, int(dict(rejection.headers)["retry-after"]))


def test_a_rejection_names_a_used_up_budget_before_a_rate_limit() -> None:
    account = Account(Rates(rpm=1), Budget("q", total=5), RateUse(1, 0, 1, 0), BudgetUse(used_prompt=5))
    rejection = limited(account, ReservationRequest(1, 1, exact=True))
    assert (429, "insufficient_quota", "true") == (
        rejection.status,
        rejection.code,
        dict(rejection.headers)["x-error-quota"],
    )
    assert "retry-after" not in dict(rejection.headers)


def test_a_request_that_can_never_fit_gets_no_retry_after() -> None:
    rejection = limited(Account(Rates(tpm=5)))
    assert rejection.message.endswith("It can never fit: request fewer tokens or have the limit raised.")
    assert "retry-after" not in dict(rejection.headers)


def test_a_limit_of_no_requests_does_not_suggest_fewer_tokens() -> None:
    rejection = limited(Account(Rates(rpm=0)))
    assert rejection.message.endswith("this request needs 1. It can never fit: have the limit raised.")


def test_a_limit_that_a_request_never_fits_is_named_before_one_that_ends() -> None:
    rejection = limited(Account(Rates(rpd=1, tpm=5), rate_use=RateUse(1, 0, 1, 0)))
    assert "tpm" == rejection.reason
    assert "retry-after" not in dict(rejection.headers)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59, "59s"), (360, "6m0s"), (86_399, "23h59m59s")])
def test_durations_are_written_as_openai_does(seconds: int, text: str) -> None:
    assert text == duration_text(seconds)


@given(st.text(max_size=300))
def test_any_model_name_makes_a_valid_body_and_header(name: str) -> None:
    for rejection in (answers.unknown_model(name), answers.forbidden_model(name), answers.endpoint_not_ready(name, "")):
        assert error(rejection)["message"]
        for _, value in rejection.headers:
            assert value.isascii() and value.isprintable()
