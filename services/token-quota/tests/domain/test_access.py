import json

import pytest

from arks.token_quota.domain.access import (
    EndpointState,
    EngineTerms,
    KeyHolder,
    Permission,
    Policy,
    closed_limits,
    engine_terms,
    reject_key,
    reject_model,
    reject_use,
)
from arks.token_quota.domain.limits import Budget, Rates

POLICY = Policy("team", "tom", {"qwen": Permission(Rates(), None)})
READY = EndpointState(True)
NOW = 1_800_000_030.0


def test_a_key_that_works_is_not_refused() -> None:
    assert None is reject_key(KeyHolder(POLICY), NOW)


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
    rejection = reject_key(holder, NOW)
    assert rejection is not None
    assert (401, code) == (rejection.status, json.loads(rejection.body)["error"]["code"])
    assert "x-error-token" in dict(rejection.headers)


def test_a_replaced_key_works_until_its_time() -> None:
    assert None is reject_key(KeyHolder(POLICY, until_seconds=NOW + 1), NOW)


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
    rejection = reject_model(POLICY, model, model, endpoint)
    assert rejection is not None
    assert (status, code) == (rejection.status, json.loads(rejection.body)["error"]["code"])


def test_a_permitted_model_that_is_ready_is_not_refused() -> None:
    assert None is reject_model(POLICY, "qwen", "qwen", READY)


LIMITED, BUDGET = Rates(tpd=1), Budget("q")


@pytest.mark.parametrize(
    ("rates_open", "budgets_open", "rates", "budget", "closed"),
    [
        (True, False, LIMITED, BUDGET, "Quotas"),
        (True, False, LIMITED, None, None),
        (False, True, LIMITED, BUDGET, "Rate limits"),
        (False, True, Rates(), BUDGET, None),
        (False, False, Rates(), None, None),
        (True, True, LIMITED, BUDGET, None),
    ],
)
def test_while_limits_cannot_be_checked_each_kind_that_a_request_is_under_has_to_allow_it(
    rates_open: bool, budgets_open: bool, rates: Rates, budget: Budget | None, closed: str | None
) -> None:
    policy = Policy("team", "tom", {}, rates_fail_open=rates_open, budgets_fail_open=budgets_open)
    assert closed == closed_limits(policy, rates, budget)


def test_a_request_is_refused_for_what_its_engine_would_drop_and_for_nothing_else() -> None:
    endpoint = EndpointState(True, unsupported=frozenset({"tools", "logprobs"}))
    refused = reject_use(endpoint, {"tools", "n"})
    assert refused is not None
    assert 400 == refused.status
    assert [None] * 4 == [
        reject_use(endpoint, {"n"}),
        reject_use(endpoint, set()),
        reject_use(READY, {"tools"}),
        reject_use(None, {"tools"}),
    ]


def test_engines_get_their_own_name_of_the_model_if_it_is_another_one() -> None:
    endpoint = EndpointState(True, engine_model="Qwen/Qwen3", unsupported=frozenset({"b", "a"}), affinity="64")
    assert EngineTerms("Qwen/Qwen3", ("a", "b"), "64") == engine_terms(endpoint, "qwen")
    assert EngineTerms("", ("a", "b"), "64") == engine_terms(endpoint, "Qwen/Qwen3")


def test_a_token_names_the_quotas_of_its_permissions() -> None:
    permissions = {name: Permission(Rates(), quota) for name, quota in (("a", "q1"), ("b", "q2"), ("c", None))}
    assert {"q1", "q2"} == Policy("team", "tom", permissions).quotas
