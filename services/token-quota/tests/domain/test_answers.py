import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.token_quota.domain import answers
from arks.token_quota.domain.access import EndpointState, KeyHolder, Leave, Policy, refuse_key, refuse_model
from arks.token_quota.domain.answers import Refusal, duration_text, over_limit
from arks.token_quota.domain.limits import Account, Ask, Budget, BudgetUse, Rates, RateUse, violations

POLICY = Policy("team", "tom", {"qwen": Leave(Rates(), None)})
READY = EndpointState(True)
NOW = 1_800_000_030.0
ASK = Ask(10, 20, exact=True)


def error(refusal: Refusal) -> dict[str, object]:
    found = json.loads(refusal.body)["error"]
    assert {"message", "type", "param", "code"} <= set(found)
    return dict(found)


def limited(account: Account, ask: Ask = ASK) -> Refusal:
    return over_limit(violations(account, ask, NOW), account.rates, account.rate_use, NOW)


def test_a_key_that_works_is_not_refused() -> None:
    assert None is refuse_key(KeyHolder(POLICY), NOW)


@pytest.mark.parametrize(
    ("holder", "code"),
    [
        (None, "invalid_api_key"),
        (KeyHolder(Policy("team", "tom", {}, disabled=True)), "api_key_disabled"),
        (KeyHolder(Policy("team", "tom", {}, expires_at_seconds=NOW)), "api_key_expired"),
        (KeyHolder(POLICY, until_seconds=NOW - 1), "api_key_expired"),
    ],
)
def test_a_key_that_does_not_work_is_401_with_its_own_code(holder: KeyHolder | None, code: str) -> None:
    refusal = refuse_key(holder, NOW)
    assert refusal is not None
    assert (401, code) == (refusal.status, error(refusal)["code"])
    assert "x-error-token" in dict(refusal.headers)


def test_a_replaced_key_works_until_its_time() -> None:
    assert None is refuse_key(KeyHolder(POLICY, until_seconds=NOW + 1), NOW)


@pytest.mark.parametrize(
    ("model", "endpoint", "status", "code"),
    [
        ("qwen", None, 404, "model_not_found"),
        ("phi", None, 404, "model_not_found"),
        ("phi", READY, 403, "model_not_permitted"),
        ("qwen", EndpointState(False, "no replica is ready"), 503, "endpoint_not_ready"),
    ],
)
def test_a_model_is_refused_for_its_own_reason(
    model: str, endpoint: EndpointState | None, status: int, code: str
) -> None:
    refusal = refuse_model(POLICY, model, endpoint)
    assert refusal is not None
    assert (status, code) == (refusal.status, error(refusal)["code"])


def test_a_permitted_model_that_is_ready_is_not_refused() -> None:
    assert None is refuse_model(POLICY, "qwen", READY)


def test_an_endpoint_that_is_not_ready_says_when_to_come_back_and_why() -> None:
    refusal = answers.endpoint_not_ready("qwen", "no replica is ready")
    assert ("5", True) == (dict(refusal.headers)["retry-after"], "no replica is ready" in refusal.message)


def test_over_a_rate_limit_is_429_with_everything_needed_to_come_back() -> None:
    refusal = limited(Account(Rates(rpm=5, tpm=1000), rate_use=RateUse(5, 100, 5, 100)))
    assert (429, "rate_limit_exceeded", "requests") == (refusal.status, refusal.code, refusal.type)
    assert {
        "x-error-rate-limit": "true",
        "retry-after": "30",
        "x-ratelimit-limit-requests": "5",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "30s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "900",
        "x-ratelimit-reset-tokens": "30s",
    } == dict(refusal.headers)
    assert [{"rule": "rpm", "limit": 5, "used": 5, "requested": 1, "resetsAfterSeconds": 30}] == error(refusal)[
        "details"
    ]


def test_of_several_broken_limits_the_one_that_lasts_longest_is_told() -> None:
    refusal = limited(Account(Rates(rpm=1, rpd=1), rate_use=RateUse(1, 0, 1, 0)))
    assert ("rpd", 86_400 - int(NOW) % 86_400) == (refusal.reason, int(dict(refusal.headers)["retry-after"]))


def test_a_used_up_budget_is_told_before_a_rate_limit() -> None:
    account = Account(Rates(rpm=1), Budget("q", total=5), RateUse(1, 0, 1, 0), BudgetUse(used_prompt=5))
    refusal = limited(account, Ask(1, 1, exact=True))
    assert (429, "insufficient_quota", "true") == (refusal.status, refusal.code, dict(refusal.headers)["x-error-quota"])
    assert "retry-after" not in dict(refusal.headers)


def test_what_can_never_fit_is_said_and_not_to_be_tried_again() -> None:
    refusal = limited(Account(Rates(tpm=5)))
    assert "never fit" in refusal.message
    assert "retry-after" not in dict(refusal.headers)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59, "59s"), (360, "6m0s"), (86_399, "23h59m59s")])
def test_durations_are_written_as_openai_does(seconds: int, text: str) -> None:
    assert text == duration_text(seconds)


@given(st.text(max_size=300))
def test_any_model_name_makes_a_valid_body_and_header(name: str) -> None:
    for refusal in (answers.unknown_model(name), answers.forbidden_model(name), answers.endpoint_not_ready(name, "")):
        assert error(refusal)["message"]
        for _, value in refusal.headers:
            assert value.isascii() and value.isprintable()
