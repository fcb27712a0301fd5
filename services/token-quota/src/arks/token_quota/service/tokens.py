"""Reconciles ArksToken: writes into its status whether its key works, and the reason if it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from arks.contracts.conditions import set_condition
from arks.contracts.resources import ArksToken, ArksTokenStatus, Condition, ConditionStatus
from arks.kit.clock import Clock
from arks.kit.home import Records
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.resource_events import ResourceEvents, ResourceRef
from arks.token_quota.domain.keys import KeyClaim, Verdict
from arks.token_quota.domain.token import READY, ReadyStatus, TokenRecord
from arks.token_quota.service.index import Index
from arks.token_quota.service.keyring import Keyring

RESERVED_KEY = (
    "a token of another namespace had the same key, and its clients may still send it: the key stays reserved for that"
    " namespace for some time after the token's deletion (key_reserved_seconds of token-quota); choose another key"
)


@dataclass(frozen=True, slots=True)
class TokenReconciler:
    """A token's status depends on the existence of its quotas, not on their limits or use."""

    records: Records[TokenRecord]
    index: Index
    keyring: Keyring
    events: ResourceEvents
    clock: Clock

    def is_due(self, key: Key) -> bool:
        """Whether a reconcile would do something: after a start nearly all of 100,000 statuses are current."""
        token = self.records.cache.get(key)
        if token is None or token.deleting:
            return False
        if token.claims is None or _next_expiry(token, token.claims, 0.0) is not None:
            return True
        verdict = self._judge(key, token, token.claims, self.clock.timestamp())
        return token.status != _status_of(verdict, token.generation)

    async def reconcile(self, key: Key) -> Requeue | None:
        token = self.records.cache.get(key)
        if token is None or token.deleting:
            return None
        reading = await self.keyring.reading(key, token)
        if reading.problem is not None:
            await self._report(key, token, reading.problem)
            return None  # the keyring continues to poll; a change reaches this controller through the index
        now_seconds = self.clock.timestamp()
        await self._report(key, token, self._judge(key, token, reading.claims, now_seconds))
        return _next_expiry(token, reading.claims, now_seconds)

    def _judge(self, key: Key, token: TokenRecord, claims: Sequence[KeyClaim], now_seconds: float) -> Verdict:
        policy = token.policy
        expires = policy.expires_at_seconds
        if policy.disabled:
            return Verdict(False, "Disabled", "spec.disabled is true: the key is rejected")
        if expires is not None and expires <= now_seconds:
            return Verdict(False, "Expired", f"the key expired at {_utc(expires):%Y-%m-%dT%H:%M:%SZ}")
        if not self.index.holds(key, claims[0]):
            return self._judge_claim(claims[0])
        missing = sorted(name for name in policy.quotas if self.index.budget(key.namespace, name) is None)
        if missing:
            message = (
                f"ArksQuota {', '.join(missing)} not found in {key.namespace}; requests charged to it are rejected"
            )
            return Verdict(False, "QuotaNotFound", message)
        return Verdict(True, "Ready", "Key is active")

    def _judge_claim(self, claim: KeyClaim) -> Verdict:
        """Why the key does not lead to the token. Without names: the other token may be another tenant's."""
        if self.index.holders.is_reserved(claim):
            return Verdict(False, "ReservedKey", RESERVED_KEY)
        return Verdict(False, "DuplicateKey", "another token has had the same key before and keeps it: choose another")

    async def _report(self, key: Key, token: TokenRecord, verdict: Verdict) -> None:
        known, generation = token.status, token.generation
        if known == _status_of(verdict, generation):
            return
        conditions = set_condition(
            _conditions(token),
            READY,
            verdict.ready,
            verdict.reason,
            verdict.message,
            now=self.clock.now(),
            observed_generation=generation,
        )
        status = ArksTokenStatus(observed_generation=generation, conditions=conditions)
        await self.records.patch_status(key, status)
        if known is None or (known.ready, known.reason) != (verdict.ready, verdict.reason):
            verb = "ready" if verdict.ready else "refused"
            about = ResourceRef(ArksToken.__name__, key, token.uid, generation)
            self.events.publish(about, verb, reason=verdict.reason, message=verdict.message)


def _status_of(verdict: Verdict, generation: int | None) -> ReadyStatus:
    return ReadyStatus(verdict.ready, verdict.reason, verdict.message, generation, generation)


def _conditions(token: TokenRecord) -> list[Condition]:
    """As in the stored status."""
    known = token.status
    if known is None:
        return []
    condition = Condition(
        type=READY,
        status=ConditionStatus.TRUE if known.ready else ConditionStatus.FALSE,
        last_transition_time=_utc(token.since_seconds),
        reason=known.reason,
        message=known.message,
        observed_generation=known.generation,
    )
    return [condition]


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _next_expiry(token: TokenRecord, claims: Sequence[KeyClaim], now_seconds: float) -> Requeue | None:
    """Reconcile again when the next key expires."""
    ends = [token.policy.expires_at_seconds, *(claim.until_seconds for claim in claims)]
    waits = [end - now_seconds for end in ends if end is not None and end > now_seconds]
    return Requeue(min(waits)) if waits else None
