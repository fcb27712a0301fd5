"""Directories and processes of one machine: the storage contract, and rules of their own."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.kit.clock import SystemClock
from arks.kit.testing.wait import eventually
from arks.model_manager.adapters.local import process as process_module
from arks.model_manager.adapters.local.downloads import Downloads
from arks.model_manager.adapters.local.process import DownloadProcesses
from arks.model_manager.adapters.local.storage import LocalStorage
from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.observation import Content, DownloadState, StoredWeights
from arks.model_manager.domain.request import Limits
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.weights_source import WeightsSource
from arks.model_manager.testing.hub import Hub, hub_server
from arks.model_manager.testing.storage_contract import KEY, StorageContract, StorageHarness, read_file

pytestmark = pytest.mark.real


@dataclass
class LocalStorageHarness:
    storage: LocalStorage
    downloads: Downloads
    hub: Hub
    root: Path
    changes: list[str] = field(default_factory=list)

    async def download(self, storage_path: str, source: WeightsSource, token: str | None = None) -> None:
        await self.storage.download(storage_path, KEY, source, {} if token is None else {"HF_TOKEN": token})

    async def quiet(self) -> None:
        """Stopped processes have ended already."""

    async def adopt(self, storage_path: str) -> None:
        (self.root / "models" / storage_path).mkdir(parents=True)

    async def recreate_model(self) -> None:
        """Directories are removed by the adapter itself."""

    def read(self, stored: StoredWeights, name: str) -> bytes:
        return read_file(stored, name)


def local_storage_harness(
    hub: Hub, root: Path, *, limit: int = 2, silence_seconds: float = 30, reserve_bytes: int = 0
) -> LocalStorageHarness:
    processes = DownloadProcesses(os.environ, silence_seconds=silence_seconds)
    downloads = Downloads(processes, SystemClock(), CollectorRegistry(), limit=limit)
    storage = LocalStorage(root, downloads, Limits(2, None, reserve_bytes))
    harness = LocalStorageHarness(storage, downloads, hub, root)
    downloads.changed = harness.changes.append
    return harness


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hub_server() as hub:
        yield hub


@pytest_asyncio.fixture
async def harness(hub: Hub, tmp_path: Path) -> AsyncIterator[StorageHarness]:
    harness = local_storage_harness(hub, tmp_path)
    yield harness
    await harness.downloads.close()


def child_process() -> int:
    """Id of this process' only download process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    downloads = [child for child in children if b"programs.download" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert len(downloads) == 1
    return int(downloads[0])


class TestLocalStorage(StorageContract):
    async def test_a_killed_download_is_a_crash_and_resumes(self, harness: LocalStorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        harness.hub.hold = asyncio.Event()
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        await self.begun(harness, storage_path, source)
        os.kill(child_process(), signal.SIGKILL)
        failed = await self.failed(harness, storage_path, source)
        assert failed.failure is not None
        assert (FailureKind.CRASHED, 1) == (failed.failure.kind, failed.failures)
        assert "signal 9" in failed.failure.message
        harness.hub.hold.set()
        await harness.download(storage_path, source)
        await self.complete(harness, storage_path, source)

    async def test_downloads_beyond_the_limit_wait_for_their_turn(self, hub: Hub, tmp_path: Path) -> None:
        harness = local_storage_harness(hub, tmp_path, limit=1)
        source, hub.hold = self.source(harness), asyncio.Event()
        for storage_path in ("a", "b", "c"):
            await harness.storage.prepare(storage_path, KEY)
            await harness.download(storage_path, source)
        states = [
            download.state for storage_path in ("a", "b", "c") if (download := harness.downloads.get(storage_path))
        ]
        assert [DownloadState.RUNNING, DownloadState.WAITING, DownloadState.WAITING] == states
        hub.hold.set()
        for storage_path in ("a", "b", "c"):
            await self.complete(harness, storage_path, source)

    async def test_a_silent_process_is_killed(self, hub: Hub, tmp_path: Path) -> None:
        harness = local_storage_harness(hub, tmp_path, silence_seconds=0.05)
        storage_path, source = self.storage_path(harness), self.source(harness)
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        failed = await self.failed(harness, storage_path, source)
        assert failed.failure is not None
        assert "reported nothing for 0.05 s" in failed.failure.message

    async def test_a_crashed_program_fails_with_its_last_line(
        self, harness: LocalStorageHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command = (*process_module.COMMAND[:1], "-c", "print('no report'); raise SystemExit('broken: hf_secret123')")
        monkeypatch.setattr(process_module, "COMMAND", command)
        storage_path, source = self.storage_path(harness), self.source(harness)
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        failed = await self.failed(harness, storage_path, source)
        assert failed.failure is not None
        assert "the download process ended with status 1: broken: hf_[redacted]" == failed.failure.message

    async def test_too_little_space_fails_with_the_sizes(self, hub: Hub, tmp_path: Path) -> None:
        harness = local_storage_harness(hub, tmp_path, reserve_bytes=10**18)
        storage_path, source = self.storage_path(harness), self.source(harness)
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        failed = await self.failed(harness, storage_path, source)
        assert failed.failure is not None
        assert FailureKind.NO_SPACE is failed.failure.kind
        assert "1000000.0 TB in reserve" in failed.failure.message

    async def test_only_a_missing_file_is_downloaded_again(self, harness: LocalStorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        stored = await self.complete(harness, storage_path, source)
        (Path(stored.path) / "config.json").unlink()
        damaged, _ = await harness.storage.observe(storage_path, source)
        assert (Content.DAMAGED, "config.json is missing") == (damaged.content, damaged.message)
        harness.hub.served.clear()
        await harness.download(storage_path, source)
        await self.complete(harness, storage_path, source)
        assert ["config.json"] == [served.path for served in harness.hub.served]

    async def test_a_wrong_digest_fails_until_the_file_changes(
        self, harness: LocalStorageHarness, tmp_path: Path
    ) -> None:
        path = tmp_path / "x.bin"
        path.write_bytes(b"wrong")
        right = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9"
        source, storage_path = WeightsSource(SourceKind.FILE, path=str(path), sha256=right), "file:default.tiny"
        await harness.download(storage_path, source)
        failed = await self.failed(harness, storage_path, source)
        assert failed.failure is not None
        assert FailureKind.INVALID is failed.failure.kind
        path.write_bytes(b"right")
        assert harness.downloads.get(storage_path) is not None
        assert (await harness.storage.observe(storage_path, source))[1] is None
        await harness.download(storage_path, source)
        assert right == (await self.complete(harness, storage_path, source)).sha256

    async def test_close_ends_the_download_processes(self, harness: LocalStorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        harness.hub.hold = asyncio.Event()
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        await self.begun(harness, storage_path, source)
        process = child_process()
        await harness.downloads.close()
        await eventually(lambda: not Path(f"/proc/{process}").exists())
