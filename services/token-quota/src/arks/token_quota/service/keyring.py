"""Reads the keys of tokens into the index: in every replica, because each answers requests.

Watching Secrets needs the permission `list`, which token-quota does not request. So each Secret is polled, at a bounded
total rate: with hundreds of them the work would otherwise grow with their number.
"""

import asyncio
import zlib

from arks.contracts.api_key import KEY_REQUIREMENT, is_key
from arks.contracts.resources import ArksToken, KeySource
from arks.kit.errors import Invalid
from arks.kit.home import Resources, Secrets
from arks.kit.key import Key, key_of
from arks.kit.reconcile import Requeue
from arks.token_quota.domain.keys import KeyClaim, KeyReading, Verdict
from arks.token_quota.service.index import Index

SECRET_SECONDS = 5.0
"""A Secret that changes is noticed within this time, while there are few."""
SECRET_READS_PER_SECOND = 5.0
"""About half a percent of a core. Beyond 25 Secrets each is read less often than every SECRET_SECONDS."""
_LOADERS = 16


class KeyUnreadable(Exception):
    """A token's key cannot be read; holds the verdict with the reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.verdict = Verdict(False, reason, message)


class Keyring:
    def __init__(self, resources: Resources[ArksToken], index: Index, secrets: Secrets) -> None:
        self._resources = resources
        self._index = index
        self._secrets = secrets
        self._loaded: set[Key] = set()
        """Read by `load`: their first reconcile need not read again."""
        self._readable: set[Key] = set()
        self._unreadable: set[Key] = set()
        """Tokens with Secrets, by whether their keys could be read."""
        self._loading = asyncio.Event()
        self._loading.set()

    async def load(self) -> None:
        """Read the keys of all tokens, so that the first request finds them."""
        waiting = iter(list(self._resources.cache.values()))
        self._loading.clear()

        async def load() -> None:
            for token in waiting:
                await self._read(token)
                self._loaded.add(key_of(token))

        try:
            await asyncio.gather(*(load() for _ in range(_LOADERS)))
        finally:
            self._loading.set()

    async def reconcile(self, key: Key) -> Requeue | None:
        await self._loading.wait()  # else everything is read twice
        token = self._resources.cache.get(key)
        if token is None or token.metadata.deletion_timestamp is not None:
            self._forget(key)
            return None
        reading = self._index.reading(key)
        if key not in self._loaded or reading is None or not reading.is_of(token):
            reading = await self._read(token)
        self._loaded.discard(key)
        return Requeue(self._pause_seconds(key, reading)) if _has_secrets(token) else None

    async def reading(self, token: ArksToken) -> KeyReading:
        """The keys of this very generation of the token; they are read now if they were not yet."""
        await self._loading.wait()
        known = self._index.reading(key_of(token))
        return known if known is not None and known.is_of(token) else await self._read(token)

    def _forget(self, key: Key) -> None:
        self._index.update_keys(key, None)
        for keys in (self._loaded, self._readable, self._unreadable):
            keys.discard(key)

    def _pause_seconds(self, key: Key, reading: KeyReading) -> float:
        """Differs from token to token, so that Secrets read together are not read together again."""
        tokens = self._readable if reading.problem is None else self._unreadable
        pause = len(tokens) / SECRET_READS_PER_SECOND
        if pause <= SECRET_SECONDS:
            return SECRET_SECONDS
        return pause * (0.5 + zlib.crc32(str(key).encode()) / 2**32)

    async def _read(self, token: ArksToken) -> KeyReading:
        """Read the token's keys, and enter them in the index unless the token has changed meanwhile."""
        key, metadata = key_of(token), token.metadata
        try:
            reading = KeyReading(metadata.uid, metadata.generation, await self._claims(token))
        except KeyUnreadable as unreadable:
            reading = KeyReading(metadata.uid, metadata.generation, (), unreadable.verdict)
        current = self._resources.cache.get(key)
        if current is None or not reading.is_of(current):
            return reading  # the newer generation has a reconcile of its own
        if _has_secrets(token):
            self._sort_by_readability(key, reading)
        self._index.update_keys(key, reading)
        return reading

    def _sort_by_readability(self, key: Key, reading: KeyReading) -> None:
        if reading.problem is None:
            self._readable.add(key)
            self._unreadable.discard(key)
        else:
            self._unreadable.add(key)
            self._readable.discard(key)

    async def _claims(self, token: ArksToken) -> tuple[KeyClaim, ...]:
        """The current key first. Raises KeyUnreadable."""
        current = KeyClaim(await self._hash(token.namespace, token.spec))
        previous = [
            KeyClaim(await self._hash(token.namespace, source), source.until.timestamp())
            for source in token.spec.previous
        ]
        return (current, *previous)

    async def _hash(self, namespace: str, source: KeySource) -> str:
        if source.token_hash is not None:
            return source.token_hash
        if source.token is not None:
            return self._index.hash(source.token.get_secret_value())
        return self._index.hash(await self._secret_key(namespace, source))

    async def _secret_key(self, namespace: str, source: KeySource) -> str:
        reference = source.token_secret_ref
        if reference is None:
            raise KeyUnreadable("InvalidKey", "spec names no key")
        secret = f"Secret {namespace}/{reference.name}"
        try:
            values = await self._secrets.read(Key(namespace, reference.name))
        except Invalid as error:
            raise KeyUnreadable("InvalidKey", str(error)) from error
        if values is None:
            raise KeyUnreadable("SecretNotFound", f"{secret} does not exist")
        if reference.key not in values:
            raise KeyUnreadable("SecretNotFound", f"{secret} has no key {reference.key}")
        key = values[reference.key].decode("ascii", "replace").strip()
        if not is_key(key):
            raise KeyUnreadable("InvalidKey", f"{reference.key} of {secret} is not {KEY_REQUIREMENT}")
        return key


def _has_secrets(token: ArksToken) -> bool:
    return any(source.token_secret_ref is not None for source in (token.spec, *token.spec.previous))
