"""What every storage adapter has to keep. Bound by `class TestMine(StorageContract)` and a fixture `rig`."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from arks.contracts.resources import ArksModelSpec
from arks.kit.key import Key
from arks.kit.testing.hub import Hub
from arks.kit.testing.wait import eventually
from arks.model_manager.domain.observation import Content, Loading, LoadState, Stored
from arks.model_manager.domain.path_use import Removal
from arks.model_manager.domain.protocol import FailureKind
from arks.model_manager.domain.source import Order, SourceKind
from arks.model_manager.service.manager import Storage

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

    async def load(self, place: str, order: Order, token: str | None = None) -> None:
        """Begin to load for the model `KEY`, with this token as the hub's, however downloads get it here."""

    async def quiet(self) -> None:
        """No download runs any more, also none that was told to end a moment ago."""

    async def adopt(self, place: str) -> None:
        """Make the place's storage, empty, as somebody else would."""

    async def model_gone(self) -> None:
        """The model `KEY` has gone, with what the platform takes away with it, and was made again."""

    def read(self, stored: Stored, name: str) -> bytes:
        """A file of a complete model, as engines would read it."""


CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"}


def spec_of(sub_path: str | None = None) -> ArksModelSpec:
    """All models of the suite keep their weights in one storage."""
    storage = {"pvc": {"name": "weights", "spec": CLAIM}} | ({"subPath": sub_path} if sub_path else {})
    return ArksModelSpec.model_validate({"model": "acme/tiny", "storage": storage})


class StorageContract:
    """Promises of the `Storage` port."""

    def order(self, rig: Rig, **changes: str) -> Order:
        rig.hub.add("acme/tiny", FILES)
        return replace(Order(SourceKind.HUB, "acme/tiny", rig.hub.url), **changes)  # type: ignore[arg-type]

    def place(self, rig: Rig, sub_path: str | None = None) -> str:
        return rig.storage.place(KEY, spec_of(sub_path))

    async def until(
        self, rig: Rig, place: str, order: Order, condition: Callable[[Stored, Loading | None], bool]
    ) -> tuple[Stored, Loading | None]:
        stored, loading = await rig.storage.observe(place, order)

        async def seen() -> bool:
            nonlocal stored, loading
            stored, loading = await rig.storage.observe(place, order)
            return condition(stored, loading)

        try:
            await eventually(seen, within_seconds=60, what=f"{place} as wanted")
        except AssertionError as error:
            raise AssertionError(f"{error}: {stored} {loading}") from None
        return stored, loading

    async def empty(self, rig: Rig, place: str, order: Order) -> None:
        """Storage may take a moment until it can be used."""
        await self.until(
            rig, place, order, lambda stored, loading: stored.content is Content.INCOMPLETE and loading is None
        )

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
        await self.empty(rig, place, order)

    async def test_the_same_sub_path_is_the_same_place_and_no_sub_path_is_the_models_own(self, rig: Rig) -> None:
        other = Key("default", "other")
        assert rig.storage.place(KEY, spec_of("shared/x")) == rig.storage.place(other, spec_of("shared/x/"))
        assert rig.storage.place(KEY, spec_of()) != rig.storage.place(other, spec_of())

    async def test_what_is_loaded_is_complete_with_its_size_revision_and_content(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        stored = await self.complete(rig, place, order)
        assert (sum(map(len, FILES.values())), 2) == (stored.size_bytes, stored.file_count)
        assert stored.revision == rig.hub.repositories["acme/tiny"][0].commit
        assert rig.read(stored, "model.safetensors") == WEIGHTS
        assert place in rig.changes

    async def test_loading_twice_is_one_load(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        await rig.load(place, order)
        await self.complete(rig, place, order)
        assert rig.hub.served_bytes["model.safetensors"] == len(WEIGHTS)

    async def test_what_is_complete_for_one_order_is_not_for_another(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        await self.complete(rig, place, order)
        other = self.order(rig, revision="v2")
        rig.hub.add("acme/tiny", FILES | {"config.json": b"{2}"}, revision="v2")
        assert Content.INCOMPLETE is (await rig.storage.observe(place, other))[0].content
        await rig.load(place, other)
        assert rig.read(await self.complete(rig, place, other), "config.json") == b"{2}"

    async def test_a_refused_load_has_its_kind_and_may_be_begun_again(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        rig.hub.add("acme/tiny", FILES, token="hf_right")  # noqa: S106  # an example
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        first = await self.failed(rig, place, order)
        assert first.failure is not None
        assert (first.failure.kind, first.failures) == (FailureKind.DENIED, 1)
        await rig.load(place, order, "hf_right")
        await self.complete(rig, place, order)

    async def test_a_stopped_load_is_continued_where_it_was(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        rig.hub.hold = asyncio.Event()
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        await self.begun(rig, place, order)
        await rig.storage.stop(place)
        assert _brief(await rig.storage.observe(place, order)) == (Content.INCOMPLETE, None)
        await rig.quiet()
        rig.hub.hold.set()
        await rig.load(place, order)
        await self.complete(rig, place, order)
        assert [start > 0 for start in _starts(rig.hub)] == [False, True]

    async def test_another_order_ends_the_load_under_way(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        rig.hub.add("acme/other", {"config.json": b"other"})
        other = self.order(rig, repository="acme/other")
        rig.hub.hold = asyncio.Event()
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        await self.begun(rig, place, order)
        await rig.load(place, other)
        assert rig.read(await self.complete(rig, place, other), "config.json") == b"other"

    async def test_what_was_made_is_removed_and_may_be_made_again(self, rig: Rig) -> None:
        place, order = self.place(rig), self.order(rig)
        assert Removal.ABSENT is await rig.storage.remove(place, KEY, shared=False)
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        await self.complete(rig, place, order)
        assert Removal.REMOVED is await rig.storage.remove(place, KEY, shared=False)
        await rig.model_gone()
        assert Content.ABSENT is (await rig.storage.observe(place, order))[0].content
        await rig.storage.prepare(place, KEY)
        await self.empty(rig, place, order)

    async def test_what_somebody_else_made_is_adopted_filled_and_kept(self, rig: Rig) -> None:
        place, order = self.place(rig, "adopted"), self.order(rig)
        await rig.adopt(place)
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        await self.complete(rig, place, order)
        assert Removal.KEPT is await rig.storage.remove(place, KEY, shared=False)
        assert Content.COMPLETE is (await rig.storage.observe(place, order))[0].content


def _brief(seen: tuple[Stored, Loading | None]) -> tuple[Content, Loading | None]:
    return seen[0].content, seen[1]


def _starts(hub: Hub) -> list[int]:
    return [served.start for served in hub.served if served.path == "model.safetensors"]


def read_file(stored: Stored, name: str) -> bytes:
    """For rigs whose files are on this machine."""
    return (Path(stored.path) / name).read_bytes()
