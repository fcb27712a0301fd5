"""Reconciles ArksToken: writes into its status whether its key works, and the reason if it does not."""

from collections.abc import Sequence
from dataclasses import dataclass

from arks.contracts.conditions import find_condition, is_true, set_condition
from arks.contracts.resources import ArksToken, ArksTokenStatus
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.resource_events import ResourceEvents
from arks.token_quota.domain.keys import KeyClaim, Verdict
from arks.token_quota.domain.translate import quota_names, seconds_of
from arks.token_quota.service.index import Index
from arks.token_quota.service.keyring import Keyring

READY = "Ready"


@dataclass(frozen=True, slots=True)
class TokenReconciler:
    """A token's status depends on the existence of its quotas, not on their limits or use."""

    resources: Resources[ArksToken]
    index: Index
    keyring: Keyring
    events: ResourceEvents
    clock: Clock

    async def reconcile(self, key: Key) -> Requeue | None:
        token = self.resources.cache.get(key)
        if token is None or token.metadata.deletion_timestamp is not None:
            return None
        reading = await self.keyring.reading(token)
        if reading.problem is not None:
            await self._report(key, token, reading.problem)
            return None  # the keyring continues to poll; a change reaches this controller through the index
        now_seconds = self.clock.now().timestamp()
        await self._report(key, token, self._judge(key, token, reading.claims, now_seconds))
        return _next_expiry(token, reading.claims, now_seconds)

    def _judge(self, key: Key, token: ArksToken, claims: Sequence[KeyClaim], now_seconds: float) -> Verdict:
        expires = seconds_of(token.spec.expires_at)
        if token.spec.disabled:
            return Verdict(False, "Disabled", "spec.disabled is true: the key is rejected")
        if expires is not None and expires <= now_seconds:
            return Verdict(False, "Expired", f"the key expired at {token.spec.expires_at:%Y-%m-%dT%H:%M:%SZ}")
        if not self.index.holds(key, claims[0]):
            # Without its name: the other token may be another tenant's.
            return Verdict(False, "DuplicateKey", "an older token has the same key and keeps it: choose another key")
        missing = sorted(name for name in quota_names(token) if self.index.budget(key.namespace, name) is None)
        if missing:
            message = (
                f"ArksQuota {', '.join(missing)} not found in {key.namespace}; requests charged to it are rejected"
            )
            return Verdict(True, "QuotaNotFound", message)
        return Verdict(True, "Ready", "Key is active")

    async def _report(self, key: Key, token: ArksToken, verdict: Verdict) -> None:
        before = token.status.conditions if token.status is not None else []
        generation = token.metadata.generation
        conditions = set_condition(
            before,
            READY,
            verdict.ready,
            verdict.reason,
            verdict.message,
            now=self.clock.now(),
            observed_generation=generation,
        )
        status = ArksTokenStatus(observed_generation=generation, conditions=conditions)
        if status != token.status:
            await self.resources.patch_status(key, status)
        known = find_condition(before, READY)
        if known is None or is_true(before, READY) != verdict.ready or known.reason != verdict.reason:
            verb = "ready" if verdict.ready else "refused"
            self.events.publish(token, verb, reason=verdict.reason, message=verdict.message)


def _next_expiry(token: ArksToken, claims: Sequence[KeyClaim], now_seconds: float) -> Requeue | None:
    """Reconcile again when the next key expires."""
    ends = [seconds_of(token.spec.expires_at), *(claim.until_seconds for claim in claims)]
    waits = [end - now_seconds for end in ends if end is not None and end > now_seconds]
    return Requeue(min(waits)) if waits else None
