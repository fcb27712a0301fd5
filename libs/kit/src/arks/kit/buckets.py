"""Keeps a cache equal to a JetStream KV bucket. Resources on one machine and facts are read with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from sys import intern
from typing import Generic, TypeVar

import structlog
from nats.js.kv import KeyValue

from arks.contracts.subjects import split_fact_key
from arks.kit.bus import NATS_ERRORS, Bus
from arks.kit.cache import Cache, Found, Unreadable
from arks.kit.errors import Unavailable
from arks.kit.key import Key

log = structlog.get_logger(__name__)

T = TypeVar("T")
ReadKey = Callable[[str], Key]
"""Turns the bucket's key into ours. Raises ValueError."""
Read = Callable[[KeyValue.Entry], Found[T]]
"""Turns an entry into its value. It may raise anything: an entry that cannot be read keeps its last value."""
_AGAIN_SECONDS = 0.25
_LIST_SECONDS = 10.0
_RELIST_SECONDS = 300.0
"""Watches start over at this interval, because a watch stays silent if its consumer was lost without a reconnect."""
_NEVER_SECONDS = 2 * _RELIST_SECONDS
"""The library requires a timeout for the next change; `_RELIST_SECONDS` always ends the wait first."""


async def first_entries(
    bus: Bus, bucket: str, pattern: str, watcher: KeyValue.KeyWatcher
) -> AsyncIterator[KeyValue.Entry]:
    """Yield the bucket's current entries; a key that changes meanwhile appears more than once. Raises NATS_ERRORS.

    nats.py sends an end marker. If the marker comes first, the bucket is not necessarily empty: the library counts
    undelivered entries and misses those in flight, so compare with the list of keys.
    """
    empty = True
    while (entry := await watcher.updates(timeout=_LIST_SECONDS)) is not None:
        empty = False
        yield entry
    missing = await _keys(bus, bucket, pattern) if empty else set()
    while missing:
        if (entry := await watcher.updates(timeout=_LIST_SECONDS)) is not None:
            missing.discard(entry.key)
            yield entry


async def _keys(bus: Bus, bucket: str, pattern: str) -> set[str]:
    """Keys of the bucket, deleted ones included: it keeps a marker of each."""
    prefix = f"$KV.{bucket}."
    info = await bus.jetstream.stream_info(f"KV_{bucket}", subjects_filter=f"{prefix}{pattern}")
    return {subject.removeprefix(prefix) for subject in info.state.subjects or {}}


def key_of_fact(raw: str) -> Key:
    """`<namespace>.<name>`. Namespaces are few, so their names are shared. Raises ValueError."""
    namespace, name = split_fact_key(raw)
    return Key(intern(namespace), name)


class BucketWatch(Generic[T]):
    """Keeps `cache` equal to the entries of a bucket whose keys match `pattern`."""

    def __init__(
        self, bus: Bus, bucket: str, pattern: str, *, read_key: ReadKey, read: Read[T], cache: Cache[T]
    ) -> None:
        self._bus = bus
        self._bucket = bucket
        self._pattern = pattern
        self._read_key = read_key
        self._read = read
        self._cache = cache
        cache.on_fault = lambda key, error: bus.faults.failed(bucket, key, error)
        self._fingerprints: dict[Key, int] = {}
        """Of what each cached value was read from, so that a watch that starts over reads only what changed."""

    async def run(self) -> None:
        async for session in self._bus.sessions():
            while self._bus.session_is(session):
                try:
                    await self._follow(session)
                except (*NATS_ERRORS, Unavailable) as error:
                    self._bus.forget_bucket(self._bucket)
                    log.warning("watch broke", bucket=self._bucket, error=str(error) or type(error).__name__)
                    await asyncio.sleep(_AGAIN_SECONDS)

    async def _follow(self, session: int) -> None:
        """Apply changes until NATS reconnects or the watch is due to start over."""
        bucket = await self._bus.bucket(self._bucket)
        watcher = await bucket.watch(self._pattern)
        ended = asyncio.ensure_future(self._bus.session_ended(session))
        following: asyncio.Future[KeyValue.Entry | None] | None = None
        try:
            async with asyncio.timeout(_RELIST_SECONDS):
                await self._list(watcher)
                while not ended.done():
                    following = asyncio.ensure_future(watcher.updates(timeout=_NEVER_SECONDS))
                    await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
                    if not following.done():
                        break
                    entry = following.result()
                    if entry is not None:
                        self._apply(entry)
        except TimeoutError:
            return
        finally:
            ended.cancel()
            if following is not None:
                following.cancel()
            with contextlib.suppress(*NATS_ERRORS):
                await watcher.stop()

    async def _list(self, watcher: KeyValue.KeyWatcher) -> None:
        if not self._cache.synced.is_set():
            self._fingerprints.clear()  # an earlier list may have broken before its values were stored
        await self._cache.load(self._listed(watcher))
        for key in [key for key in self._fingerprints if not self._cache.exists(key)]:
            del self._fingerprints[key]

    async def _listed(self, watcher: KeyValue.KeyWatcher) -> AsyncIterator[tuple[Key, Found[T]]]:
        async for entry in first_entries(self._bus, self._bucket, self._pattern, watcher):
            if (key := self._key(entry)) is not None:
                yield key, self._value(key, entry)

    def _apply(self, entry: KeyValue.Entry) -> None:
        if (key := self._key(entry)) is not None:
            self._cache.apply(key, self._value(key, entry))

    def _key(self, entry: KeyValue.Entry) -> Key | None:
        found = self._bus.faults.read(self._bucket, entry.key, lambda: self._read_key(entry.key))
        return None if isinstance(found, Unreadable) else found

    def _value(self, key: Key, entry: KeyValue.Entry) -> Found[T]:
        if entry.operation is not None:
            self._fingerprints.pop(key, None)
            return None
        fingerprint = hash((entry.revision, entry.value))  # a lost bucket counts its revisions from 1 again
        known = self._cache.unreadable(key) or self._cache.get(key)
        if known is not None and self._fingerprints.get(key) == fingerprint:
            return known
        found = self._bus.faults.read(self._bucket, key, lambda: self._read(entry))
        self._fingerprints[key] = fingerprint
        return found
