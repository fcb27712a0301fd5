"""The first list of a watch is complete, although nats.py may send its end marker too early."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.js.kv import KeyValue

from arks.kit.buckets import first_entries
from arks.kit.bus import Bus


def entry(key: str) -> KeyValue.Entry:
    return KeyValue.Entry(bucket="b", key=key, value=b"{}", revision=1, delta=0, created=None, operation=None)


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
