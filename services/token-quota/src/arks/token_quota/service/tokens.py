"""ArksToken: its keys into the directory, and into its status whether they work and why not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from arks.contracts.conditions import find_condition, is_true, set_condition
from arks.contracts.resources import ArksQuota, ArksToken, ArksTokenStatus, KeySource
from arks.contracts.subjects import EventKind
from arks.events.v1.events_pb2 import ResourceEvent
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.errors import Invalid
from arks.kit.home import Resources
from arks.kit.reconcile import Key, Requeue
from arks.token_quota.service.directory import Claim, Directory, seconds_of

READY = "Ready"
SECRET_SECONDS = 5.0
"""A Secret that changes is noticed within this time; it is read again, because secrets have no watch everywhere."""
_MAX_KEY_LENGTH = 1024


class Secrets(Protocol):
    async def read(self, key: Key) -> Mapping[str, bytes] | None:
        """The secret's values, or None. Raises Invalid."""


class Events(Protocol):
    def publish_event(
        self, kind: EventKind, verb: str, key: Key, event: ResourceEvent, event_id: str | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    ready: bool
    reason: str
    message: str


class KeyUnreadable(Exception):
    """A token's key cannot be read; holds the verdict that says why."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Keyring:
    """Enters the keys of tokens in the directory: in every replica, each answers requests."""

    resources: Resources[ArksToken]
    directory: Directory
    secrets: Secrets

    async def load(self) -> None:
        """The keys of every token there is, so that the first request finds them."""
        for token in self.resources.cache.values():
            await self.reconcile(Key(token.namespace, token.name))

    async def reconcile(self, key: Key) -> Requeue | None:
        token = self.resources.cache.get(key)
        if token is None or token.metadata.deletion_timestamp is not None:
            self.directory.claim(key, ())
            return None
        try:
            self.directory.claim(key, await self.claims(token))
        except KeyUnreadable:
            self.directory.claim(key, ())
        return Requeue(SECRET_SECONDS) if _has_secrets(token) else None

    async def claims(self, token: ArksToken) -> list[Claim]:
        """The current key first. Raises KeyUnreadable."""
        current = Claim(await self._hash(token.namespace, token.spec))
        previous = [
            Claim(await self._hash(token.namespace, source), source.until.timestamp()) for source in token.spec.previous
        ]
        return [current, *previous]

    async def _hash(self, namespace: str, source: KeySource) -> str:
        if source.token_hash is not None:
            return source.token_hash
        if source.token is not None:
            return self.directory.hash(source.token.get_secret_value())
        return self.directory.hash(await self._secret_key(namespace, source))

    async def _secret_key(self, namespace: str, source: KeySource) -> str:
        reference = source.token_secret_ref
        if reference is None:
            raise KeyUnreadable(Verdict(False, "InvalidKey", "spec names no key"))
        named = f"Secret {namespace}/{reference.name}"
        try:
            values = await self.secrets.read(Key(namespace, reference.name))
        except Invalid as error:
            raise KeyUnreadable(Verdict(False, "InvalidKey", str(error))) from error
        if values is None:
            raise KeyUnreadable(Verdict(False, "SecretNotFound", f"{named} does not exist"))
        if reference.key not in values:
            raise KeyUnreadable(Verdict(False, "SecretNotFound", f"{named} has no key {reference.key}"))
        key = values[reference.key].decode("ascii", "replace").strip()
        if not 1 <= len(key) <= _MAX_KEY_LENGTH or not all("!" <= character <= "~" for character in key):
            message = (
                f"{reference.key} of {named} is not 1 to {_MAX_KEY_LENGTH} visible ASCII characters without blanks"
            )
            raise KeyUnreadable(Verdict(False, "InvalidKey", message))
        return key


@dataclass(frozen=True, slots=True)
class Tokens:
    """Says in each token's status whether its key works."""

    resources: Resources[ArksToken]
    directory: Directory
    keyring: Keyring
    events: Events
    clock: Clock

    def follow(self, quotas: Cache[ArksQuota], enqueue: Callable[[Key], None]) -> None:
        """A quota that comes or goes matters to the tokens of its namespace."""

        def changed(quota: Key) -> None:
            for token in self.resources.cache.values():
                if token.namespace == quota.namespace:
                    enqueue(Key(token.namespace, token.name))

        quotas.subscribe(changed)

    async def reconcile(self, key: Key) -> Requeue | None:
        token = self.resources.cache.get(key)
        if token is None or token.metadata.deletion_timestamp is not None:
            return None
        try:
            claims = await self.keyring.claims(token)
        except KeyUnreadable as unreadable:
            await self._report(key, token, unreadable.verdict)
            return Requeue(SECRET_SECONDS)
        self.directory.claim(key, claims)
        now_seconds = self.clock.now().timestamp()
        await self._report(key, token, self._judge(key, token, claims, now_seconds))
        return _next_look(token, claims, now_seconds)

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
        await self.resources.patch_status(key, ArksTokenStatus(observed_generation=generation, conditions=conditions))
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
    """When a key expires, or when its Secret may have changed."""
    ends = [seconds_of(token.spec.expires_at), *(claim.until_seconds for claim in claims)]
    waits = [end - now_seconds for end in ends if end is not None and end > now_seconds]
    if _has_secrets(token):
        waits.append(SECRET_SECONDS)
    return Requeue(min(waits)) if waits else None


def _has_secrets(token: ArksToken) -> bool:
    return any(source.token_secret_ref is not None for source in (token.spec, *token.spec.previous))
