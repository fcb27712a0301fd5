"""The first list of a watch is complete, although nats.py may send its end marker too early. Later lists read only what
changed.
"""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.js.kv import KeyValue
from prometheus_client import CollectorRegistry, Counter

from arks.kit.buckets import BucketWatch, first_entries, key_of_fact
from arks.kit.bus import Bus
from arks.kit.cache import Cache
from arks.kit.faults import Faults
from arks.kit.key import Key


def entry(key: str, value: bytes = b"{}", revision: int = 1, operation: str | None = None) -> KeyValue.Entry:
    return KeyValue.Entry(
        bucket="b", key=key, value=value, revision=revision, delta=0, created=None, operation=operation
    )


class Watcher:
    """Returns the given updates in order."""

    def __init__(self, *updates: KeyValue.Entry | None) -> None:
        self._updates = list(updates)

    async def updates(self, timeout: float) -> KeyValue.Entry | None:  # noqa: ASYNC109  # as of the library
        if not self._updates:
            raise TimeoutError
        return self._updates.pop(0)


class JetStream:
    """Has a bucket with the given subjects."""

    def __init__(self, *subjects: str) -> None:
        self._subjects = subjects
        self.listed: list[tuple[str, str]] = []

    async def stream_info(self, name: str, subjects_filter: str) -> Any:
        self.listed.append((name, subjects_filter))
        return SimpleNamespace(state=SimpleNamespace(subjects=dict.fromkeys(self._subjects, 1) or None))


async def listed(jetstream: JetStream, *updates: KeyValue.Entry | None) -> list[str]:
    bus, watcher = cast("Bus", SimpleNamespace(jetstream=jetstream)), cast("KeyValue.KeyWatcher", Watcher(*updates))
    return [found.key async for found in first_entries(bus, "b", "models.>", watcher)]


async def test_a_list_ends_at_its_end_marker() -> None:
    jetstream = JetStream("$KV.b.models.x", "$KV.b.models.y")
    assert ["models.x"] == await listed(jetstream, entry("models.x"), None, entry("models.z"))
    assert [] == jetstream.listed


async def test_entries_after_an_early_end_marker_belong_to_the_list() -> None:
    jetstream = JetStream("$KV.b.models.x", "$KV.b.models.y")
    updates = (None, entry("models.y"), entry("models.new"), entry("models.x"), entry("models.z"))
    assert ["models.y", "models.new", "models.x"] == await listed(jetstream, *updates)
    assert [("KV_b", "$KV.b.models.>")] == jetstream.listed


async def test_an_empty_bucket_has_an_empty_list() -> None:
    assert [] == await listed(JetStream(), None)


async def test_missing_entries_are_an_error() -> None:
    with pytest.raises(TimeoutError):
        await listed(JetStream("$KV.b.models.x"), None)


class Bucket:
    """A bucket on a bus whose every session lists the entries that it has at that moment."""

    def __init__(self, *entries: KeyValue.Entry) -> None:
        self.entries = list(entries)
        self.read: list[str] = []
        self.cache: Cache[bytes] = Cache()
        jetstream = JetStream(*(f"$KV.b.{found.key}" for found in entries))
        self.registry = CollectorRegistry()
        faults = Faults(Counter("unreadable", "", ["source"], registry=self.registry))
        self.bus = cast("Bus", SimpleNamespace(jetstream=jetstream, faults=faults))
        self.watch = BucketWatch(self.bus, "b", ">", read_key=key_of_fact, read=self._read, cache=self.cache)

    def _read(self, found: KeyValue.Entry) -> bytes | None:
        self.read.append(found.key)
        if found.value == b"broken":
            raise KeyError("what")
        return found.value

    async def list(self) -> dict[str, bytes]:
        self.read.clear()
        await self.watch._list(cast("KeyValue.KeyWatcher", Watcher(*self.entries, None)))
        return {str(key): value for key, value in self.cache.items()}


async def test_a_list_reads_again_only_what_changed_and_finds_what_was_deleted() -> None:
    bucket = Bucket(entry("a.x", b"1", 1), entry("a.y", b"2", 2), entry("a.z", b"3", 3))
    assert {"a/x": b"1", "a/y": b"2", "a/z": b"3"} == await bucket.list()
    bucket.entries = [entry("a.x", b"1", 1), entry("a.y", b"5", 4)]
    assert ({"a/x": b"1", "a/y": b"5"}, ["a.y"]) == (await bucket.list(), bucket.read)
    bucket.entries = [entry("a.x", b"1", 1), entry("a.y", b"", 5, "DEL")]
    assert ({"a/x": b"1"}, []) == (await bucket.list(), bucket.read)


async def test_what_was_deleted_while_the_watch_was_away_is_read_when_it_is_back() -> None:
    bucket = Bucket(entry("a.x", b"1", 1))
    await bucket.list()
    bucket.entries = []
    bucket.bus.jetstream._subjects = ()  # type: ignore[attr-defined]  # the fake's
    assert {} == await bucket.list()
    bucket.entries = [entry("a.x", b"1", 1)]
    assert ({"a/x": b"1"}, ["a.x"]) == (await bucket.list(), bucket.read)


async def test_a_bucket_that_was_lost_and_counts_from_1_again_is_read_again() -> None:
    bucket = Bucket(entry("a.x", b"1", 1))
    await bucket.list()
    bucket.entries = [entry("a.x", b"2", 1)]
    assert {"a/x": b"2"} == await bucket.list()


async def test_an_entry_that_cannot_be_read_keeps_its_last_value_until_it_can_or_is_deleted() -> None:
    x, y = Key("a", "x"), Key("a", "y")
    bucket = Bucket(entry("a.x", b"1", 1), entry("no key", b"1", 1), entry("a.y", b"2", 2))
    assert {"a/x": b"1", "a/y": b"2"} == await bucket.list()
    bucket.entries[0] = entry("a.x", b"broken", 3)
    assert {"a/x": b"1", "a/y": b"2"} == await bucket.list()
    assert bucket.cache.unreadable(x) is not None and bucket.cache.unreadable(y) is None
    assert {"a/x": b"1", "a/y": b"2"} == await bucket.list()
    assert [] == bucket.read, "an entry that has not changed is not read again, readable or not"
    bucket.watch._apply(entry("a.x", b"4", 4))
    assert (b"4", None) == (bucket.cache.get(x), bucket.cache.unreadable(x))
    bucket.watch._apply(entry("a.x", b"broken", 5))
    bucket.watch._apply(entry("a.x", b"", 6, "DEL"))
    assert not bucket.cache.exists(x)
    # two values, and a key that is none, in each of three lists
    assert 5.0 == bucket.registry.get_sample_value("unreadable_total", {"source": "b"})
