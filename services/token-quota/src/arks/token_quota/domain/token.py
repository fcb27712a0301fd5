"""What is kept of each ArksToken. There may be 100,000 of them and a whole one takes 12 KB, so a record has
only what is needed, and tokens with the same permissions or the same status share them.

msgspec's structs need half the memory of dataclasses, and the garbage collector does not visit them: one visit to all
dataclasses of 100,000 tokens would hold up requests for 100 ms.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from sys import intern
from typing import cast

import msgspec

from arks.contracts.conditions import find_condition
from arks.contracts.resources import (
    ArksToken,
    ArksTokenStatus,
    ConditionStatus,
    FailureMode,
    KeySource,
    RateLimitType,
    TokenQos,
    digest_of,
)
from arks.token_quota.domain.access import Permission, Policy
from arks.token_quota.domain.keys import KeyClaim
from arks.token_quota.domain.limits import Rates
from arks.token_quota.domain.translate import seconds_of

READY = "Ready"
_SHARED = 4096
"""Different permissions and different statuses that are shared; the rest are kept once for each token."""


class SecretKey(msgspec.Struct, frozen=True, gc=False):
    """A key that has to be read from a Secret in the token's namespace."""

    secret: str
    entry: str
    until_seconds: float | None = None


class ReadyStatus(msgspec.Struct, frozen=True, gc=False):
    """The condition Ready of a token, without its time."""

    ready: bool
    reason: str
    message: str
    generation: int | None
    """The generation that the condition describes."""
    observed_generation: int | None
    """The generation that the whole status describes."""


class TokenRecord(msgspec.Struct, frozen=True, gc=False):
    """An ArksToken as admission, the keyring and the status need it."""

    uid: str | None
    generation: int | None
    created_seconds: float
    """Infinite if it is not known."""
    deleting: bool
    policy: Policy
    keys: tuple[KeyClaim | SecretKey, ...]
    """The current key first."""
    status: ReadyStatus | None = None
    since_seconds: float = 0.0
    """When `status.ready` last changed."""

    @property
    def has_secrets(self) -> bool:
        return any(isinstance(key, SecretKey) for key in self.keys)

    @property
    def claims(self) -> tuple[KeyClaim, ...] | None:
        """All its keys; None if some are in Secrets."""
        return None if self.has_secrets else cast("tuple[KeyClaim, ...]", self.keys)

    def with_status(self, status: ArksTokenStatus | None) -> "TokenRecord":
        condition = find_condition(status.conditions, READY) if status is not None else None
        if status is None or condition is None or condition.status is ConditionStatus.UNKNOWN:
            return msgspec.structs.replace(self, status=None, since_seconds=0.0)
        found = _shared_status(
            condition.status is ConditionStatus.TRUE,
            condition.reason,
            condition.message,
            condition.observed_generation,
            status.observed_generation,
        )
        return msgspec.structs.replace(self, status=found, since_seconds=condition.last_transition_time.timestamp())


def record_of(token: ArksToken, hash_key: Callable[[str], bytes]) -> TokenRecord:
    """`hash_key`: of a key in the clear, which is not kept. Raises ValueError for a token that names no key."""
    metadata, spec = token.metadata, token.spec
    previous = [_key(source, hash_key, source.until.timestamp()) for source in spec.previous]
    record = TokenRecord(
        metadata.uid,
        metadata.generation,
        float("inf") if metadata.creation_timestamp is None else metadata.creation_timestamp.timestamp(),
        metadata.deletion_timestamp is not None,
        policy_of(token),
        (_key(spec, hash_key, None), *previous),
    )
    return record if token.status is None else record.with_status(token.status)


def policy_of(token: ArksToken) -> Policy:
    spec = token.spec
    return Policy(
        namespace=intern(token.namespace),
        name=token.name,
        permissions=_shared_permissions(tuple((qos.arks_endpoint.name, _permission(qos)) for qos in spec.qos)),
        disabled=spec.disabled,
        expires_at_seconds=seconds_of(spec.expires_at),
        rates_fail_open=spec.failure_policy.rates is FailureMode.OPEN,
        budgets_fail_open=spec.failure_policy.budgets is FailureMode.OPEN,
    )


def _key(source: KeySource, hash_key: Callable[[str], bytes], until_seconds: float | None) -> KeyClaim | SecretKey:
    if source.token_hash is not None:
        return KeyClaim(digest_of(source.token_hash), until_seconds)
    if source.token is not None:
        return KeyClaim(hash_key(source.token.get_secret_value()), until_seconds)
    if source.token_secret_ref is None:
        raise ValueError("spec names no key")
    return SecretKey(source.token_secret_ref.name, source.token_secret_ref.key, until_seconds)


def _permission(qos: TokenQos) -> Permission:
    limits = {limit.type: limit.value for limit in qos.rate_limits}
    rates = Rates(
        rpm=limits.get(RateLimitType.RPM),
        rpd=limits.get(RateLimitType.RPD),
        tpm=limits.get(RateLimitType.TPM),
        tpd=limits.get(RateLimitType.TPD),
    )
    return Permission(rates, qos.quota.name if qos.quota is not None else None)


@lru_cache(maxsize=_SHARED)
def _shared_permissions(permissions: tuple[tuple[str, Permission], ...]) -> Mapping[str, Permission]:
    return dict(permissions)


@lru_cache(maxsize=_SHARED)
def _shared_status(
    ready: bool, reason: str, message: str, generation: int | None, observed_generation: int | None
) -> ReadyStatus:
    return ReadyStatus(ready, reason, message, generation, observed_generation)
