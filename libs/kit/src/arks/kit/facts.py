"""Reads and writes facts: the newest state of things, in KV buckets. One service writes a bucket, others read it."""

import asyncio
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar

import structlog
from google.protobuf.json_format import Parse, ParseError
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from nats.js.kv import KeyValue

from arks.contracts.subjects import Facts, fact_key
from arks.kit.buckets import BucketWatch, first_entries, key_of_fact
from arks.kit.bus import NATS_ERRORS, Bus, to_json
from arks.kit.cache import Cache, Unreadable
from arks.kit.clock import Clock, SystemClock
from arks.kit.errors import Unavailable
from arks.kit.key import Key

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)
_AGAIN_SECONDS = 0.25
_WRITERS = 16
"""Concurrent writes. Sequential writes would need a round trip for each of hundreds of facts."""


class FactReader(Generic[M]):
    """Reads another service's facts. `cache` is current while `run` runs."""

    def __init__(self, bus: Bus, bucket: Facts, message: type[M]) -> None:
        self.cache: Cache[M] = Cache()
        self._message = message
        self._watch = BucketWatch(bus, bucket.value, ">", read_key=key_of_fact, read=self._read, cache=self.cache)

    async def run(self) -> None:
        await self._watch.run()

    def _read(self, entry: KeyValue.Entry) -> M | Unreadable[M]:
        try:
            return Parse(entry.value or b"", self._message(), ignore_unknown_fields=True)
        except (ParseError, ValueError) as error:
            return Unreadable(str(error))


class FactWriter(Generic[M]):
    """Writes the facts that this service owns.

    `put` and `remove` set the desired facts; `run` writes them to the bucket, and once more if the bucket was lost.
    """

    def __init__(self, bus: Bus, bucket: Facts, clock: Clock | None = None) -> None:
        self._bus = bus
        self._bucket = bucket
        self._clock = clock or SystemClock()
        self._facts: dict[Key, M] = {}
        self._kept: set[Key] = set()
        self._dirty: set[Key] = set()
        self._wake = asyncio.Event()
        self._complete = False

    def get(self, key: Key) -> M | None:
        return self._facts.get(key)

    def put(self, key: Key, fact: M) -> None:
        """Set `updated_at` of a copy and write it. A fact that is otherwise unchanged keeps its time and is not
        written, because readers act on every write."""
        stamped = fact_at(fact, self._clock.now(), self._facts.get(key))
        if self._facts.get(key) != stamped:
            self._facts[key] = stamped
            self._mark(key)

    def remove(self, key: Key) -> None:
        self._facts.pop(key, None)
        self._mark(key)

    def keep(self, key: Key) -> None:
        """Keep the fact that is in the bucket, whatever it is: its resource exists and cannot be read."""
        if key not in self._facts:
            self._kept.add(key)

    def keeps(self, key: Key) -> bool:
        return key in self._kept

    def complete(self) -> None:
        """Every resource that exists has its fact or is kept: delete all other facts from the bucket."""
        self._complete = True
        self._wake.set()

    async def run(self) -> None:
        async for session in self._bus.sessions():
            known: set[str] | None = None
            while self._bus.session_is(session):
                try:
                    if known is None and self._complete:
                        known = await self._resync()
                    await self._write()
                except (*NATS_ERRORS, Unavailable) as error:
                    self._bus.forget_bucket(self._bucket.value)
                    log.warning("fact not written", bucket=self._bucket.value, error=str(error) or type(error).__name__)
                    await asyncio.sleep(_AGAIN_SECONDS)
                    continue
                await self._changed(session)

    async def _changed(self, session: int) -> None:
        waits = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self._bus.session_ended(session))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _resync(self) -> set[str]:
        """Mark all own facts and all keys of the bucket as dirty: `_write` writes the facts and deletes other keys."""
        bucket = await self._bus.bucket(self._bucket.value)
        watcher = await bucket.watchall()
        found: set[str] = set()
        async for entry in first_entries(self._bus, self._bucket.value, ">", watcher):
            if entry.operation is None:
                found.add(entry.key)
        await watcher.stop()
        self._dirty.update(self._facts)
        self._dirty.update(self._of_bucket(found) - self._kept)
        return found

    def _of_bucket(self, found: set[str]) -> set[Key]:
        """Keys of the bucket; others than of facts stay in it."""
        keys = (self._bus.faults.read(self._bucket.value, raw, partial(key_of_fact, raw)) for raw in found)
        return {key for key in keys if isinstance(key, Key)}

    async def _write(self) -> None:
        self._wake.clear()
        if not self._dirty:
            return
        bucket = await self._bus.bucket(self._bucket.value)
        waiting = iter(list(self._dirty))

        async def write() -> None:
            for key in waiting:
                await self._write_one(bucket, key)

        ended = await asyncio.gather(*(write() for _ in range(_WRITERS)), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    async def _write_one(self, bucket: KeyValue, key: Key) -> None:
        fact = self._facts.get(key)
        if fact is None:
            await bucket.delete(fact_key(key.namespace, key.name))
        else:
            await bucket.put(fact_key(key.namespace, key.name), to_json(fact))
        if self._facts.get(key) == fact:
            self._dirty.discard(key)

    def _mark(self, key: Key) -> None:
        self._kept.discard(key)
        self._dirty.add(key)
        self._wake.set()


def fact_at(fact: M, now: datetime, before: M | None) -> M:
    """A copy of the fact with `updated_at`: `before`'s time if nothing else has changed, otherwise `now`."""
    stamped = type(fact)()
    stamped.CopyFrom(fact)
    updated_at: Timestamp = getattr(stamped, "updated_at")  # noqa: B009  # every fact has it, but Message does not declare it
    if before is not None:
        updated_at.CopyFrom(getattr(before, "updated_at"))  # noqa: B009
        if stamped == before:
            return before
    updated_at.FromDatetime(now)
    return stamped
