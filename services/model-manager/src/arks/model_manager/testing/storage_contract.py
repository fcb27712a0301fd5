"""Tests of the `Storage` port, for each adapter: `class TestMine(StorageContract)` and a fixture `harness`."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from arks.contracts.resources import ArksModelSpec
from arks.kit.key import Key
from arks.kit.testing.wait import eventually
from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.observation import Content, Download, DownloadState, StoredWeights
from arks.model_manager.domain.removal import Removal
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.weights_source import WeightsSource
from arks.model_manager.service.ports import Storage
from arks.model_manager.testing.hub import Hub

WEIGHTS = bytes(range(256)) * 4096
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}
KEY = Key("default", "tiny")


class StorageHarness(Protocol):
    """An adapter under test and its surroundings."""

    @property
    def storage(self) -> Storage: ...

    @property
    def hub(self) -> Hub:
        """Reachable from where the adapter's downloads run."""

    @property
    def changes(self) -> list[str]:
        """Storage paths that the adapter has reported as changed."""

    async def download(self, storage_path: str, source: WeightsSource, token: str | None = None) -> None:
        """Start a download for the model `KEY`, with this token of the hub."""

    async def quiet(self) -> None:
        """Return when no download runs any more, including stopped ones."""

    async def adopt(self, storage_path: str) -> None:
        """Create the path's storage, empty, as a user would."""

    async def recreate_model(self) -> None:
        """Delete the model `KEY`, with what the platform deletes with it, and create it again."""

    def read(self, stored: StoredWeights, name: str) -> bytes:
        """A file of a complete model, as engines would read it."""


PVC_SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "fast"}


def spec_of(sub_path: str | None = None) -> ArksModelSpec:
    """All models of the suite keep their weights in the same PVC."""
    storage = {"pvc": {"name": "weights", "spec": PVC_SPEC}} | ({"subPath": sub_path} if sub_path else {})
    return ArksModelSpec.model_validate({"model": "acme/tiny", "storage": storage})


class StorageContract:
    """Promises of the `Storage` port."""

    def source(self, harness: StorageHarness, **changes: str) -> WeightsSource:
        harness.hub.add("acme/tiny", FILES)
        return replace(WeightsSource(SourceKind.HUB, "acme/tiny", harness.hub.url), **changes)  # type: ignore[arg-type]

    def storage_path(self, harness: StorageHarness, sub_path: str | None = None) -> str:
        return harness.storage.storage_path(KEY, spec_of(sub_path))

    async def until(
        self,
        harness: StorageHarness,
        storage_path: str,
        source: WeightsSource,
        condition: Callable[[StoredWeights, Download | None], bool],
    ) -> tuple[StoredWeights, Download | None]:
        stored, download = await harness.storage.observe(storage_path, source)

        async def holds() -> bool:
            nonlocal stored, download
            stored, download = await harness.storage.observe(storage_path, source)
            return condition(stored, download)

        try:
            await eventually(holds, within_seconds=60, what=f"{storage_path} as expected")
        except AssertionError as error:
            raise AssertionError(f"{error}: {stored} {download}") from None
        return stored, download

    async def empty(self, harness: StorageHarness, storage_path: str, source: WeightsSource) -> None:
        """Return when the storage is usable and empty."""
        await self.until(
            harness,
            storage_path,
            source,
            lambda stored, download: stored.content is Content.INCOMPLETE and download is None,
        )

    async def complete(self, harness: StorageHarness, storage_path: str, source: WeightsSource) -> StoredWeights:
        """Return when the weights are complete and the download is over; until then no other can start."""
        stored, _ = await self.until(
            harness,
            storage_path,
            source,
            lambda stored, download: stored.content is Content.COMPLETE and download is None,
        )
        return stored

    async def failed(self, harness: StorageHarness, storage_path: str, source: WeightsSource) -> Download:
        _, download = await self.until(
            harness,
            storage_path,
            source,
            lambda _, download: download is not None and download.state is DownloadState.FAILED,
        )
        assert download is not None
        return download

    async def begun(self, harness: StorageHarness, storage_path: str, source: WeightsSource) -> None:
        await self.until(
            harness,
            storage_path,
            source,
            lambda _, download: download is not None and download.progress.done_bytes > 100_000,
        )

    async def test_storage_is_absent_until_prepared_and_prepare_may_repeat(self, harness: StorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        assert Content.ABSENT is (await harness.storage.observe(storage_path, source))[0].content
        await harness.storage.prepare(storage_path, KEY)
        await harness.storage.prepare(storage_path, KEY)
        await self.empty(harness, storage_path, source)

    async def test_models_share_a_path_only_with_the_same_sub_path(self, harness: StorageHarness) -> None:
        other = Key("default", "other")
        assert harness.storage.storage_path(KEY, spec_of("shared/x")) == harness.storage.storage_path(
            other, spec_of("shared/x/")
        )
        assert harness.storage.storage_path(KEY, spec_of()) != harness.storage.storage_path(other, spec_of())

    async def test_a_download_is_complete_with_its_size_revision_and_content(self, harness: StorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        stored = await self.complete(harness, storage_path, source)
        assert (sum(map(len, FILES.values())), 2) == (stored.size_bytes, stored.file_count)
        assert stored.revision == harness.hub.repositories["acme/tiny"][0].commit
        assert harness.read(stored, "model.safetensors") == WEIGHTS
        assert storage_path in harness.changes

    async def test_a_second_call_continues_the_running_download(self, harness: StorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        await harness.download(storage_path, source)
        await self.complete(harness, storage_path, source)
        assert harness.hub.served_bytes["model.safetensors"] == len(WEIGHTS)

    async def test_weights_are_complete_for_their_source_only(self, harness: StorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        await self.complete(harness, storage_path, source)
        other = self.source(harness, revision="v2")
        harness.hub.add("acme/tiny", FILES | {"config.json": b"{2}"}, revision="v2")
        assert Content.INCOMPLETE is (await harness.storage.observe(storage_path, other))[0].content
        await harness.download(storage_path, other)
        assert harness.read(await self.complete(harness, storage_path, other), "config.json") == b"{2}"

    async def test_a_refused_download_has_its_kind_and_can_restart(self, harness: StorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        harness.hub.add("acme/tiny", FILES, token="hf_right")  # noqa: S106  # an example
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        first = await self.failed(harness, storage_path, source)
        assert first.failure is not None
        assert (first.failure.kind, first.failures) == (FailureKind.DENIED, 1)
        await harness.download(storage_path, source, "hf_right")
        await self.complete(harness, storage_path, source)

    async def test_a_stopped_download_resumes_where_it_was(self, harness: StorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        harness.hub.hold = asyncio.Event()
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        await self.begun(harness, storage_path, source)
        await harness.storage.stop(storage_path)
        assert _brief(await harness.storage.observe(storage_path, source)) == (Content.INCOMPLETE, None)
        await harness.quiet()
        harness.hub.hold.set()
        await harness.download(storage_path, source)
        await self.complete(harness, storage_path, source)
        assert [start > 0 for start in _starts(harness.hub)] == [False, True]

    async def test_another_source_ends_the_running_download(self, harness: StorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        harness.hub.add("acme/other", {"config.json": b"other"})
        other = self.source(harness, repository="acme/other")
        harness.hub.hold = asyncio.Event()
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        await self.begun(harness, storage_path, source)
        await harness.download(storage_path, other)
        assert harness.read(await self.complete(harness, storage_path, other), "config.json") == b"other"

    async def test_created_storage_is_removed_and_can_be_created_again(self, harness: StorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        assert Removal.ABSENT is await harness.storage.remove(storage_path, KEY, shared=False)
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        await self.complete(harness, storage_path, source)
        assert Removal.REMOVED is await harness.storage.remove(storage_path, KEY, shared=False)
        await harness.recreate_model()
        assert Content.ABSENT is (await harness.storage.observe(storage_path, source))[0].content
        await harness.storage.prepare(storage_path, KEY)
        await self.empty(harness, storage_path, source)

    async def test_storage_of_a_user_is_adopted_filled_and_kept(self, harness: StorageHarness) -> None:
        storage_path, source = self.storage_path(harness, "adopted"), self.source(harness)
        await harness.adopt(storage_path)
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        await self.complete(harness, storage_path, source)
        assert Removal.KEPT is await harness.storage.remove(storage_path, KEY, shared=False)
        assert Content.COMPLETE is (await harness.storage.observe(storage_path, source))[0].content


def _brief(observed: tuple[StoredWeights, Download | None]) -> tuple[Content, Download | None]:
    return observed[0].content, observed[1]


def _starts(hub: Hub) -> list[int]:
    return [served.start for served in hub.served if served.path == "model.safetensors"]


def read_file(stored: StoredWeights, name: str) -> bytes:
    """For harnesses whose files are on this machine."""
    return (Path(stored.path) / name).read_bytes()
