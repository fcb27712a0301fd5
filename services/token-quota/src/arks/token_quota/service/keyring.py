"""The keys of tokens, entered in the directory: in every replica, because each answers requests.

Secrets cannot be watched with the right to read single ones, so each is read again now and then, all of them together
so often a second at most: with hundreds the work would otherwise grow with their number.
"""

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from arks.contracts.resources import ArksToken, KeySource
from arks.kit.errors import Invalid
from arks.kit.home import Resources
from arks.kit.reconcile import Key, Requeue
from arks.token_quota.service.index.index import Claim, Directory

SECRET_SECONDS = 5.0
"""A Secret that changes is noticed within this time, as long as there are few."""
SECRET_READS_PER_SECOND = 5.0
"""About half a percent of a core. Beyond 25 Secrets each is read less often than every SECRET_SECONDS."""
_LOADERS = 16
_MAX_KEY_LENGTH = 1024


class Secrets(Protocol):
    async def read(self, key: Key) -> Mapping[str, bytes] | None:
        """The secret's values, or None. Raises Invalid."""


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
class Found:
    """What was read for a token: its keys, the current one first, or why there are none."""

    uid: str | None
    generation: int | None
    claims: tuple[Claim, ...]
    verdict: Verdict | None = None

    def is_of(self, token: ArksToken) -> bool:
        return (self.uid, self.generation) == (token.metadata.uid, token.metadata.generation)


class Keyring:
    def __init__(self, resources: Resources[ArksToken], directory: Directory, secrets: Secrets) -> None:
        self._resources = resources
        self._directory = directory
        self._secrets = secrets
        self._found: dict[Key, Found] = {}
        self._loaded: set[Key] = set()
        """Read just now, by `load`: their first reconcile need not read again."""
        self._readable: set[Key] = set()
        self._unreadable: set[Key] = set()
        """Tokens with Secrets, by whether their keys could be read."""
        self._listeners: list[Callable[[Key], None]] = []
        self._loading = asyncio.Event()
        self._loading.set()

    def on_change(self, listener: Callable[[Key], None]) -> None:
        """`listener` is called with each token for which something else was read than before."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """The keys of every token there is, so that the first request finds them."""
        waiting = iter(list(self._resources.cache.values()))
        self._loading.clear()

        async def load() -> None:
            for token in waiting:
                await self._read(token)
                self._loaded.add(Key(token.namespace, token.name))

        try:
            await asyncio.gather(*(load() for _ in range(_LOADERS)))
        finally:
            self._loading.set()

    async def reconcile(self, key: Key) -> Requeue | None:
        await self._loading.wait()  # or everything would be read twice
        token = self._resources.cache.get(key)
        if token is None or token.metadata.deletion_timestamp is not None:
            self._forget(key)
            return None
        found = self._found.get(key)
        if key not in self._loaded or found is None or not found.is_of(token):
            found = await self._read(token)
        self._loaded.discard(key)
        return Requeue(self._pause_seconds(key, found)) if _has_secrets(token) else None

    async def found(self, token: ArksToken) -> Found:
        """What was read for this very generation; it is read now if it was not yet."""
        await self._loading.wait()
        known = self._found.get(Key(token.namespace, token.name))
        return known if known is not None and known.is_of(token) else await self._read(token)

    def _forget(self, key: Key) -> None:
        self._directory.claim(key, ())
        self._found.pop(key, None)
        for keys in (self._loaded, self._readable, self._unreadable):
            keys.discard(key)

    def _pause_seconds(self, key: Key, found: Found) -> float:
        """Not the same for all: what was read together is not read together again."""
        alike = self._readable if found.verdict is None else self._unreadable
        pause = len(alike) / SECRET_READS_PER_SECOND
        if pause <= SECRET_SECONDS:
            return SECRET_SECONDS
        return pause * (0.5 + zlib.crc32(str(key).encode()) / 2**32)

    async def _read(self, token: ArksToken) -> Found:
        """Reads, remembers, and enters what was found in the directory."""
        key, metadata = Key(token.namespace, token.name), token.metadata
        try:
            found = Found(metadata.uid, metadata.generation, tuple(await self._claims(token)))
        except KeyUnreadable as unreadable:
            found = Found(metadata.uid, metadata.generation, (), unreadable.verdict)
        current = self._resources.cache.get(key)
        if current is None or not found.is_of(current):
            return found  # changed or gone while we read: its own reconcile comes
        if _has_secrets(token):
            good, bad = (self._readable, self._unreadable)[:: 1 if found.verdict is None else -1]
            good.add(key)
            bad.discard(key)
        self._directory.claim(key, found.claims)
        before = self._found.get(key)
        self._found[key] = found
        if before is not None and before != found:
            for listener in self._listeners:
                listener(key)
        return found

    async def _claims(self, token: ArksToken) -> Sequence[Claim]:
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
            return self._directory.hash(source.token.get_secret_value())
        return self._directory.hash(await self._secret_key(namespace, source))

    async def _secret_key(self, namespace: str, source: KeySource) -> str:
        reference = source.token_secret_ref
        if reference is None:
            raise KeyUnreadable(Verdict(False, "InvalidKey", "spec names no key"))
        named = f"Secret {namespace}/{reference.name}"
        try:
            values = await self._secrets.read(Key(namespace, reference.name))
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


def _has_secrets(token: ArksToken) -> bool:
    return any(source.token_secret_ref is not None for source in (token.spec, *token.spec.previous))
