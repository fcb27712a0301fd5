"""What every storage adapter has to keep. Bound by `class TestMine(StorageContract)` and a fixture `rig`."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from arks.contracts.resources import ArksModelSpec
from arks.kit.reconcile import Key
from arks.kit.testing.hub import Hub
from arks.kit.testing.wait import eventually
from arks.model_manager.domain import Content, Loading, LoadState, Order, Removal, SourceKind, Stored
from arks.model_manager.protocol import FailureKind
from arks.model_manager.service import Storage

WEIGHTS = bytes(range(256)) * 4096
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
KEY = Key("default", "tiny")


class Rig(Protocol):
    """An adapter under test, and what is around it."""

    @property
    def storage(self) -> Storage: ...

    @property
    def hub(self) -> Hub:
        """Reachable from where the adapter's downloads run."""

    @property
    def changes(self) -> list[str]:
        """Places that the adapter has called out."""

    def adopt(self, place: str) -> None:
        """Make the place's storage, empty, as somebody else would."""

    def read(self, stored: Stored, name: str) -> bytes:
        """A file of a complete model, as engines would read it."""


def _spec(sub_path: str | None = None) -> ArksModelSpec:
    return ArksModelSpec.model_validate({"model": "acme/tiny", "storage": {"subPath": sub_path} if sub_path else None})


class StorageContract:
    """Promises of the `Storage` port."""

    def order(self, rig: Rig, **changes: str) -> Order:
        rig.hub.add("acme/tiny", FILES)
        return replace(Order(SourceKind.HUB, "acme/tiny", rig.hub.url), **changes)  # type: ignore[arg-type]

    def place(self, rig: Rig, sub_path: str | None = None) -> str:
        return rig.storage.place(KEY, _spec(sub_path))

    async def until(
        self, rig: Rig, place: str, order: Order, condition: Callable[[Stored, Loading | None], bool]
    ) -> tuple[Stored, Loading | None]:
        async def seen() -> tuple[Stored, Loading | None] | None:
            stored, loading = await rig.storage.observe(place, order)
            return (stored, loading) if condition(stored, loading) else None

        found = await eventually(seen, within_seconds=30, what=f"{place} as wanted")
        assert found is not None
        return found

    async def complete(self, rig: Rig, place: str, order: Order) -> Stored:
        """Also the loading is over: until then another one is refused as the same."""
        stored, _ = await self.until(
            rig, place, order, lambda stored, loading: stored.content is Content.COMPLETE and loading is None
        )
        return stored

    async def failed(self, rig: Rig, place: str, order: Order) -> Loading:
        _, loading = await self.until(
            rig, place, order, lambda _, loading: loading is not None and loading.state is LoadState.FAILED
        )
        assert loading is not None
        return loading

    async def begun(self, rig: Rig, place: str, order: Order) -> None:
        await self.until(
            rig, place, order, lambda _, loading: loading is not None and loading.progress.done_bytes > 100_000
        )

    async def test_a_place_is_absent_until_it_is_prepared_which_may_be_repeated(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        assert Content.ABSENT is (await rig.storage.observe(place, order))[0].content
        await rig.storage.prepare(place, KEY)
        await rig.storage.prepare(place, KEY)
        assert _brief(await rig.storage.observe(place, order)) == (Content.INCOMPLETE, None)

    async def test_the_same_sub_path_is_the_same_place_and_no_sub_path_is_the_models_own(self, rig: Rig) -> None:
        other = Key("default", "other")
        assert rig.storage.place(KEY, _spec("shared/x")) == rig.storage.place(other, _spec("shared/x/"))
        assert rig.storage.place(KEY, _spec()) != rig.storage.place(other, _spec())

    async def test_what_is_loaded_is_complete_with_its_size_revision_and_content(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        await rig.storage.prepare(place, KEY)
        await rig.storage.load(place, order, None)
        stored = await self.complete(rig, place, order)
        assert (sum(map(len, FILES.values())), 2) == (stored.size_bytes, stored.file_count)
        assert stored.revision == rig.hub.repositories["acme/tiny"][0].commit
        assert rig.read(stored, "model.safetensors") == WEIGHTS
        assert place in rig.changes

    async def test_loading_twice_is_one_load(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        await rig.storage.prepare(place, KEY)
        await rig.storage.load(place, order, None)
        await rig.storage.load(place, order, None)
        await self.complete(rig, place, order)
        assert rig.hub.served_bytes["model.safetensors"] == len(WEIGHTS)

    async def test_what_is_complete_for_one_order_is_not_for_another(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        await rig.storage.prepare(place, KEY)
        await rig.storage.load(place, order, None)
        await self.complete(rig, place, order)
        other = self.order(rig, revision="v2")
        rig.hub.add("acme/tiny", FILES | {"config.json": b"{2}"}, revision="v2")
        assert Content.INCOMPLETE is (await rig.storage.observe(place, other))[0].content
        await rig.storage.load(place, other, None)
        assert rig.read(await self.complete(rig, place, other), "config.json") == b"{2}"

    async def test_a_refused_load_has_its_kind_and_may_be_begun_again(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        rig.hub.add("acme/tiny", FILES, token="hf_right")  # noqa: S106  # an example
        await rig.storage.prepare(place, KEY)
        await rig.storage.load(place, order, None)
        first = await self.failed(rig, place, order)
        assert first.failure is not None
        assert (first.failure.kind, first.failures) == (FailureKind.DENIED, 1)
        await rig.storage.load(place, order, "hf_right")
        await self.complete(rig, place, order)

    async def test_a_stopped_load_is_continued_where_it_was(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        rig.hub.hold = asyncio.Event()
        await rig.storage.prepare(place, KEY)
        await rig.storage.load(place, order, None)
        await self.begun(rig, place, order)
        await rig.storage.stop(place)
        assert _brief(await rig.storage.observe(place, order)) == (Content.INCOMPLETE, None)
        rig.hub.hold.set()
        await rig.storage.load(place, order, None)
        await self.complete(rig, place, order)
        assert [start > 0 for start in _starts(rig.hub)] == [False, True]

    async def test_another_order_ends_the_load_under_way(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        rig.hub.add("acme/other", {"config.json": b"other"})
        other = self.order(rig, repository="acme/other")
        rig.hub.hold = asyncio.Event()
        await rig.storage.prepare(place, KEY)
        await rig.storage.load(place, order, None)
        await self.begun(rig, place, order)
        await rig.storage.load(place, other, None)
        assert rig.read(await self.complete(rig, place, other), "config.json") == b"other"

    async def test_what_was_made_is_removed_and_may_be_made_again(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        assert Removal.ABSENT is await rig.storage.remove(place)
        await rig.storage.prepare(place, KEY)
        await rig.storage.load(place, order, None)
        await self.complete(rig, place, order)
        assert Removal.REMOVED is await rig.storage.remove(place)
        assert Content.ABSENT is (await rig.storage.observe(place, order))[0].content
        await rig.storage.prepare(place, KEY)
        assert Content.INCOMPLETE is (await rig.storage.observe(place, order))[0].content

    async def test_what_somebody_else_made_is_adopted_filled_and_kept(self, rig: Rig) -> None:
        place, order = self.place(rig, "adopted"), self.order(rig)
        rig.adopt(place)
        await rig.storage.prepare(place, KEY)
        await rig.storage.load(place, order, None)
        await self.complete(rig, place, order)
        assert Removal.KEPT is await rig.storage.remove(place)
        assert Content.COMPLETE is (await rig.storage.observe(place, order))[0].content


def _brief(seen: tuple[Stored, Loading | None]) -> tuple[Content, Loading | None]:
    return seen[0].content, seen[1]


def _starts(hub: Hub) -> list[int]:
    return [served.start for served in hub.served if served.path == "model.safetensors"]


def read_file(stored: Stored, name: str) -> bytes:
    """For rigs whose files are on this machine."""
    return (Path(stored.path) / name).read_bytes()
