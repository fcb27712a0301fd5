from typing import Any

import pytest

from arks.contracts.resources import ArksToken, hash_key, key_digest
from arks.token_quota.domain.keys import KeyClaim
from arks.token_quota.domain.limits import Rates
from arks.token_quota.domain.token import ReadyStatus, SecretKey, TokenRecord, record_of
from arks.token_quota.testing.fakes import PEPPER, token

RATES = [{"type": "rpm", "value": 5}, {"type": "tpm", "value": 1000}]
LIMITED = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": RATES, "quota": {"name": "q"}}]
CREATED_SECONDS = 1767225600.0
"""2026-01-01T00:00:00Z."""


def hashed(key: str) -> bytes:
    return key_digest(PEPPER, key)


def record(made: ArksToken) -> TokenRecord:
    return record_of(made, hashed)


def with_condition(**changes: object) -> ArksToken:
    condition = {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "reason": "Ready",
        "message": "Key is active",
        "observedGeneration": 1,
    }
    stored = token().to_dict(reveal_secrets=True)
    return ArksToken.from_stored(stored | {"status": {"observedGeneration": 2, "conditions": [condition | changes]}})


def test_a_record_has_what_admission_and_status_need() -> None:
    made = record(token(qos=LIMITED, disabled=True, expiresAt="2026-01-01T00:00:00Z"))
    assert (None, 1, CREATED_SECONDS, False) == (made.uid, made.generation, made.created_seconds, made.deleting)
    policy = made.policy
    assert ("team", "tom", True, CREATED_SECONDS) == (
        policy.namespace,
        policy.name,
        policy.disabled,
        policy.expires_at_seconds,
    )
    assert (Rates(rpm=5, tpm=1000), {"q"}) == (policy.permissions["qwen"].rates, policy.quotas)


def test_a_key_in_the_clear_is_not_kept() -> None:
    made = record(token(previous=[{"token": "sk-old", "until": "2026-01-01T00:00:00Z"}]))
    assert (KeyClaim(hashed("sk-tom")), KeyClaim(hashed("sk-old"), CREATED_SECONDS)) == made.keys == made.claims
    assert "sk-" not in repr(made)


def test_a_hash_is_the_hash_of_its_key() -> None:
    assert (KeyClaim(hashed("sk-tom")),) == record(token(key=None, tokenHash=hash_key(PEPPER, "sk-tom"))).keys


def test_a_key_in_a_secret_is_named() -> None:
    made = record(token(key=None, tokenSecretRef={"name": "keys", "key": "tom"}))
    assert ((SecretKey("keys", "tom"),), None, True) == (made.keys, made.claims, made.has_secrets)


def test_the_condition_ready_is_read_from_the_status() -> None:
    made = record(with_condition())
    assert (ReadyStatus(True, "Ready", "Key is active", 1, 2), CREATED_SECONDS) == (made.status, made.since_seconds)


@pytest.mark.parametrize("changes", [{"type": "Other"}, {"status": "Unknown"}])
def test_a_status_without_a_decided_condition_counts_as_none(changes: dict[str, Any]) -> None:
    assert None is record(with_condition(**changes)).status


def test_equal_permissions_and_equal_statuses_are_shared() -> None:
    first, second = record(token(qos=LIMITED)), record(token("ann", "sk-ann", qos=LIMITED))
    assert first.policy.permissions is second.policy.permissions
    assert record(with_condition()).status is record(with_condition(lastTransitionTime="2027-01-01T00:00:00Z")).status


def test_different_permissions_are_not_shared() -> None:
    fewer = [{"arksEndpoint": {"name": "qwen"}, "rateLimits": RATES[:1], "quota": {"name": "q"}}]
    assert record(token(qos=LIMITED)).policy.permissions != record(token(qos=fewer)).policy.permissions
