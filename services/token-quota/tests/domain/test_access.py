import json

import pytest

from arks.token_quota.domain.access import EndpointState, KeyHolder, Permission, Policy, reject_key, reject_model
from arks.token_quota.domain.limits import Rates

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
