"""ArksToken: whether its keys work and why not, into its status."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from arks.contracts.conditions import find_condition, is_true, set_condition
from arks.contracts.resources import ArksQuota, ArksToken, ArksTokenStatus
from arks.contracts.subjects import EventKind
from arks.events.v1.events_pb2 import ResourceEvent
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.reconcile import Key, Requeue
from arks.token_quota.service.index.index import Claim, Directory, seconds_of
from arks.token_quota.service.keyring import Keyring, Verdict

READY = "Ready"


class Events(Protocol):
    def publish_event(
        self, kind: EventKind, verb: str, key: Key, event: ResourceEvent, event_id: str | None = None
    ) -> None: ...


class QuotaUsers:
    """Which tokens name a quota."""

    def __init__(self, tokens: Cache[ArksToken]) -> None:
        self._tokens = tokens
        self._users: dict[Key, set[Key]] = {}
        self._quotas: dict[Key, set[Key]] = {}
        tokens.subscribe(self._changed)

    def of(self, quota: Key) -> list[Key]:
        return sorted(self._users.get(quota, ()))

    def _changed(self, key: Key) -> None:
        token = self._tokens.get(key)
        names = {qos.quota.name for qos in token.spec.qos if qos.quota is not None} if token is not None else set()
        wanted = {Key(key.namespace, name) for name in names}
        before = self._quotas.pop(key, set())
        for quota in before - wanted:
            self._users[quota].discard(key)
            if not self._users[quota]:
                del self._users[quota]
        for quota in wanted - before:
            self._users.setdefault(quota, set()).add(key)
        if wanted:
            self._quotas[key] = wanted


@dataclass(frozen=True, slots=True)
class Tokens:
    """Says in each token's status whether its key works."""

    resources: Resources[ArksToken]
    directory: Directory
    keyring: Keyring
    events: Events
    clock: Clock
    users: QuotaUsers

    def follow(self, quotas: Cache[ArksQuota], enqueue: Callable[[Key], None]) -> None:
        """A quota that comes or goes matters to the tokens that name it."""

        existing: set[Key] = set()

        def changed(quota: Key) -> None:
            exists = quotas.get(quota) is not None
            if exists == (quota in existing):
                return  # what it says or has used is none of a token's business
            existing.symmetric_difference_update({quota})
            for token in self.users.of(quota):
                enqueue(token)

        quotas.subscribe(changed)

    async def reconcile(self, key: Key) -> Requeue | None:
        token = self.resources.cache.get(key)
        if token is None or token.metadata.deletion_timestamp is not None:
            return None
        found = await self.keyring.found(token)
        if found.verdict is not None:
            await self._report(key, token, found.verdict)
            return None  # the keyring goes on looking, and says when there is news
        now_seconds = self.clock.now().timestamp()
        await self._report(key, token, self._judge(key, token, found.claims, now_seconds))
        return _next_look(token, found.claims, now_seconds)

    def _judge(self, key: Key, token: ArksToken, claims: Sequence[Claim], now_seconds: float) -> Verdict:
        expires = seconds_of(token.spec.expires_at)
        if token.spec.disabled:
            return Verdict(False, "Disabled", "spec.disabled is true: the key is refused")
        if expires is not None and expires <= now_seconds:
            return Verdict(False, "Expired", f"the key expired at {token.spec.expires_at:%Y-%m-%dT%H:%M:%SZ}")
        if not self.directory.holds(key, claims[0]):
            # Not whose: the other token may be another tenant's.
            return Verdict(False, "DuplicateKey", "an older token has the same key and keeps it: choose another key")
        quotas = {qos.quota.name for qos in token.spec.qos if qos.quota is not None}
        missing = sorted(name for name in quotas if self.directory.budget(key.namespace, name) is None)
        if missing:
            message = (
                f"ArksQuota {', '.join(missing)} does not exist in {key.namespace}: what is charged to it is refused"
            )
            return Verdict(True, "QuotaNotFound", message)
        return Verdict(True, "Ready", "the key works")

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
            self._tell(key, token, verdict)

    def _tell(self, key: Key, token: ArksToken, verdict: Verdict) -> None:
        event = ResourceEvent(
            kind="ArksToken",
            namespace=key.namespace,
            name=key.name,
            generation=token.metadata.generation or 0,
            reason=verdict.reason,
            message=verdict.message,
        )
        self.events.publish_event(EventKind.TOKEN, "ready" if verdict.ready else "refused", key, event)


def _next_look(token: ArksToken, claims: Sequence[Claim], now_seconds: float) -> Requeue | None:
    """When a key expires."""
    ends = [seconds_of(token.spec.expires_at), *(claim.until_seconds for claim in claims)]
    waits = [end - now_seconds for end in ends if end is not None and end > now_seconds]
    return Requeue(min(waits)) if waits else None
