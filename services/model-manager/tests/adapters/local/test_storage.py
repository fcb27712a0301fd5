"""Directories and processes of one machine keep the storage's promises, and a few of their own."""

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
from arks.kit.testing.hub import Hub, hub_server
from arks.kit.testing.wait import eventually
from arks.model_manager.adapters.local import downloads as downloads_module
from arks.model_manager.adapters.local.downloads import Loads
from arks.model_manager.adapters.local.storage import LocalStorage
from arks.model_manager.domain.observation import Content, LoadState, Stored
from arks.model_manager.domain.protocol import FailureKind
from arks.model_manager.domain.source import Order, SourceKind
from arks.model_manager.testing.storage_contract import KEY, Rig, StorageContract, read_file

pytestmark = pytest.mark.real


@dataclass
class LocalRig:
    storage: LocalStorage
    loads: Loads
    hub: Hub
    root: Path
    changes: list[str] = field(default_factory=list)

    async def load(self, place: str, order: Order, token: str | None = None) -> None:
        await self.storage.load(place, KEY, order, token)

    async def quiet(self) -> None:
        """What was stopped has ended."""

    async def adopt(self, place: str) -> None:
        (self.root / "models" / place).mkdir(parents=True)

    async def model_gone(self) -> None:
        """Directories are removed by the adapter itself."""

    def read(self, stored: Stored, name: str) -> bytes:
        return read_file(stored, name)


def local_rig(hub: Hub, root: Path, *, limit: int = 2, silence_seconds: float = 30, reserve_bytes: int = 0) -> LocalRig:
    loads = Loads(SystemClock(), CollectorRegistry(), os.environ, limit=limit, silence_seconds=silence_seconds)
    storage = LocalStorage(root, loads, connections=2, reserve_bytes=reserve_bytes)
    rig = LocalRig(storage, loads, hub, root)
    loads.changed = rig.changes.append
    return rig


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hub_server() as hub:
        yield hub


@pytest_asyncio.fixture
async def rig(hub: Hub, tmp_path: Path) -> AsyncIterator[Rig]:
    rig = local_rig(hub, tmp_path)
    yield rig
    await rig.loads.close()


class TestLocalStorage(StorageContract):
    async def test_a_killed_process_is_a_crash_that_is_continued(self, rig: LocalRig) -> None:
        place, order = self.place(rig), self.order(rig)
        rig.hub.hold = asyncio.Event()
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        await self.begun(rig, place, order)
        process = rig.loads.process_id(place)
        assert process is not None
        os.kill(process, signal.SIGKILL)
        failed = await self.failed(rig, place, order)
        assert failed.failure is not None
        assert (FailureKind.CRASHED, 1) == (failed.failure.kind, failed.failures)
        assert "signal 9" in failed.failure.message
        rig.hub.hold.set()
        await rig.load(place, order)
        await self.complete(rig, place, order)

    async def test_no_more_processes_run_than_allowed_and_the_others_get_their_turn(
        self, hub: Hub, tmp_path: Path
    ) -> None:
        rig = local_rig(hub, tmp_path, limit=1)
        order, hub.hold = self.order(rig), asyncio.Event()
        for place in ("a", "b", "c"):
            await rig.storage.prepare(place, KEY)
            await rig.load(place, order)
        states = [loading.state for place in ("a", "b", "c") if (loading := rig.loads.state(place))]
        assert [LoadState.RUNNING, LoadState.WAITING, LoadState.WAITING] == states
        hub.hold.set()
        for place in ("a", "b", "c"):
            await self.complete(rig, place, order)

    async def test_a_process_that_falls_silent_is_ended(self, hub: Hub, tmp_path: Path) -> None:
        rig = local_rig(hub, tmp_path, silence_seconds=0.05)
        place, order = self.place(rig), self.order(rig)
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        failed = await self.failed(rig, place, order)
        assert failed.failure is not None
        assert "said nothing for 0.05 s" in failed.failure.message

    async def test_a_program_that_breaks_is_a_failure_with_its_last_line(
        self, rig: LocalRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        command = (*downloads_module.COMMAND[:1], "-c", "print('no report'); raise SystemExit('broken: hf_secret123')")
        monkeypatch.setattr(downloads_module, "COMMAND", command)
        place, order = self.place(rig), self.order(rig)
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        failed = await self.failed(rig, place, order)
        assert failed.failure is not None
        assert "the download process ended with status 1: broken: hf_[redacted]" == failed.failure.message

    async def test_too_little_space_fails_with_numbers(self, hub: Hub, tmp_path: Path) -> None:
        rig = local_rig(hub, tmp_path, reserve_bytes=10**18)
        place, order = self.place(rig), self.order(rig)
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        failed = await self.failed(rig, place, order)
        assert failed.failure is not None
        assert FailureKind.NO_SPACE is failed.failure.kind
        assert "1000000000.00 GB in reserve" in failed.failure.message

    async def test_a_lost_file_is_damage_and_loaded_alone(self, rig: LocalRig) -> None:
        place, order = self.place(rig), self.order(rig)
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        stored = await self.complete(rig, place, order)
        (Path(stored.path) / "config.json").unlink()
        damaged, _ = await rig.storage.observe(place, order)
        assert (Content.DAMAGED, "config.json is gone") == (damaged.content, damaged.message)
        rig.hub.served.clear()
        await rig.load(place, order)
        await self.complete(rig, place, order)
        assert ["config.json"] == [served.path for served in rig.hub.served]

    async def test_a_wrong_digest_fails_until_the_file_is_another_one(self, rig: LocalRig, tmp_path: Path) -> None:
        path = tmp_path / "x.bin"
        path.write_bytes(b"wrong")
        right = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9"
        order, place = Order(SourceKind.FILE, path=str(path), sha256=right), "file:default.tiny"
        await rig.load(place, order)
        failed = await self.failed(rig, place, order)
        assert failed.failure is not None
        assert FailureKind.INVALID is failed.failure.kind
        path.write_bytes(b"right")
        assert rig.loads.state(place) is not None
        assert (await rig.storage.observe(place, order))[1] is None
        await rig.load(place, order)
        assert right == (await self.complete(rig, place, order)).sha256

    async def test_nothing_is_left_running_after_the_end(self, rig: LocalRig) -> None:
        place, order = self.place(rig), self.order(rig)
        rig.hub.hold = asyncio.Event()
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        await self.begun(rig, place, order)
        process = rig.loads.process_id(place)
        await rig.loads.close()
        await eventually(lambda: not Path(f"/proc/{process}").exists())
