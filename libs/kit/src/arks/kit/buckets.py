"""Keeps a cache equal to a JetStream KV bucket. Resources on one machine and facts are read with it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import structlog
from nats.js.kv import KeyValue

from arks.kit.bus import NATS_ERRORS, Bus
from arks.kit.cache import Cache
from arks.kit.errors import Unavailable
from arks.kit.key import Key

log = structlog.get_logger(__name__)

T = TypeVar("T")
Read = Callable[[KeyValue.Entry], tuple[Key, T] | None]
"""Turns an entry into its key and value, or into None if it cannot be read. An unreadable entry counts as absent."""
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


class BucketWatch(Generic[T]):
    """Keeps `cache` equal to the entries of a bucket whose keys match `pattern`."""

    def __init__(self, bus: Bus, bucket: str, pattern: str, read: Read[T], cache: Cache[T]) -> None:
        self._bus = bus
        self._bucket = bucket
        self._pattern = pattern
        self._read = read
        self._cache = cache
        self._keys: dict[str, Key] = {}

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
        values: dict[Key, T] = {}
        self._keys.clear()
        async for entry in first_entries(self._bus, self._bucket, self._pattern, watcher):
            read = self._read(entry) if entry.operation is None else None
            if read is not None:
                key, value = read
                self._keys[entry.key] = key
                values[key] = value
            elif (gone := self._keys.pop(entry.key, None)) is not None:
                values.pop(gone)
        self._cache.replace(values)

    def _apply(self, entry: KeyValue.Entry) -> None:
        read = self._read(entry) if entry.operation is None else None
        if read is not None:
            key, value = read
            self._keys[entry.key] = key
            self._cache.apply(key, value)
        elif (gone := self._keys.pop(entry.key, None)) is not None:
            self._cache.apply(gone, None)
