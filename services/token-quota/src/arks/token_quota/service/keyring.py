"""Reads keys that are in Secrets into the index: in every replica, because each answers requests.

Watching Secrets needs the permission `list`, which token-quota does not request. So each Secret is polled, at a bounded
total rate: with hundreds of them the work would otherwise grow with their number.
"""

import asyncio
import zlib

from arks.contracts.api_key import KEY_REQUIREMENT, is_key
from arks.kit.errors import Invalid
from arks.kit.home import Records, Secrets
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.token_quota.domain.keys import KeyClaim, KeyReading, Verdict
from arks.token_quota.domain.token import SecretKey, TokenRecord
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
    def __init__(self, records: Records[TokenRecord], index: Index, secrets: Secrets) -> None:
        self._records = records
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
        """Read the keys of all tokens with Secrets, so that the first request finds them."""
        waiting = ((key, token) for key, token in self._records.cache.items() if token.has_secrets)
        self._loading.clear()

        async def load() -> None:
            for key, token in waiting:
                await self._read(key, token)
                self._loaded.add(key)

        try:
            await asyncio.gather(*(load() for _ in range(_LOADERS)))
        finally:
            self._loading.set()

    def concerns(self, key: Key) -> bool:
        """Whether the token has to be reconciled: nearly none of 100,000 has a Secret."""
        token = self._records.cache.get(key)
        known = key in self._readable or key in self._unreadable
        return known if token is None else known or token.has_secrets

    async def reconcile(self, key: Key) -> Requeue | None:
        await self._loading.wait()  # else everything is read twice
        token = self._records.cache.get(key)
        if token is None or token.deleting or not token.has_secrets:
            self._forget(key)
            return None
        reading = self._index.reading(key)
        if key not in self._loaded or reading is None or not _is_of(reading, token):
            reading = await self._read(key, token)
        self._loaded.discard(key)
        return Requeue(self._pause_seconds(key, reading))

    async def reading(self, key: Key, token: TokenRecord) -> KeyReading:
        """The keys of this very generation of the token; they are read now if they were not yet."""
        if token.claims is not None:
            return KeyReading(token.uid, token.generation, token.claims)
        await self._loading.wait()
        known = self._index.reading(key)
        return known if known is not None and _is_of(known, token) else await self._read(key, token)

    def _forget(self, key: Key) -> None:
        for keys in (self._loaded, self._readable, self._unreadable):
            keys.discard(key)

    def _pause_seconds(self, key: Key, reading: KeyReading) -> float:
        """Differs from token to token, so that Secrets read together are not read together again."""
        tokens = self._readable if reading.problem is None else self._unreadable
        pause = len(tokens) / SECRET_READS_PER_SECOND
        if pause <= SECRET_SECONDS:
            return SECRET_SECONDS
        return pause * (0.5 + zlib.crc32(str(key).encode()) / 2**32)

    async def _read(self, key: Key, token: TokenRecord) -> KeyReading:
        """Read the token's keys, and enter them in the index unless the token has changed meanwhile."""
        try:
            reading = KeyReading(token.uid, token.generation, await self._claims(key.namespace, token))
        except KeyUnreadable as unreadable:
            reading = KeyReading(token.uid, token.generation, (), unreadable.verdict)
        current = self._records.cache.get(key)
        if current is None or current.deleting or not _is_of(reading, current):
            return reading  # the newer generation has a reconcile of its own
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

    async def _claims(self, namespace: str, token: TokenRecord) -> tuple[KeyClaim, ...]:
        """The current key first. Raises KeyUnreadable."""
        return tuple([await self._claim(namespace, key) for key in token.keys])

    async def _claim(self, namespace: str, key: KeyClaim | SecretKey) -> KeyClaim:
        if isinstance(key, KeyClaim):
            return key
        return KeyClaim(self._index.hash(await self._secret_key(namespace, key)), key.until_seconds)

    async def _secret_key(self, namespace: str, reference: SecretKey) -> str:
        secret = f"Secret {namespace}/{reference.secret}"
        try:
            values = await self._secrets.read(Key(namespace, reference.secret))
        except Invalid as error:
            raise KeyUnreadable("InvalidKey", str(error)) from error
        if values is None:
            raise KeyUnreadable("SecretNotFound", f"{secret} does not exist")
        if reference.entry not in values:
            raise KeyUnreadable("SecretNotFound", f"{secret} has no key {reference.entry}")
        key = values[reference.entry].decode("ascii", "replace").strip()
        if not is_key(key):
            raise KeyUnreadable("InvalidKey", f"{reference.entry} of {secret} is not {KEY_REQUIREMENT}")
        return key


def _is_of(reading: KeyReading, token: TokenRecord) -> bool:
    return (reading.uid, reading.generation) == (token.uid, token.generation)
