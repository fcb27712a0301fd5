"""Agents of two nodes: copies from a PVC and from each other, killed, without space, and of other namespaces."""

import asyncio
import hashlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from arks.contracts.resources import CopyPhase
from arks.kit.ports import free_port
from arks.kit.testing.wait import eventually
from arks.model_manager.adapters import marker
from arks.model_manager.domain.node_cache import tickets
from arks.model_manager.domain.node_cache.copies import Copy
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.repository import download_repository
from arks.model_manager.testing.hub import Hub, hub_server
from arks.model_manager.testing.node_cache import KEY, PATH, Node, exported, node

pytestmark = pytest.mark.real

WEIGHTS = os.urandom(24 << 20)
FILES = {"config.json": b'{"architectures": ["Tiny"]}', "model.safetensors": WEIGHTS, "sub/vocab.txt": b"a\nb\n"}
TOTAL_BYTES = sum(map(len, FILES.values()))
STREAM_BYTES = 256 << 10


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY)
    return path


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hub() -> AsyncIterator[Hub]:
    async with hub_server() as hub:
        hub.add("acme/tiny", FILES)
        yield hub


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pvc(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Copy]:
    """The directory of a model in a PVC, downloaded from a hub, and the copy to make of it."""
    directory = tmp_path_factory.mktemp("pvc") / "tiny"
    request = DownloadRequest(str(directory), "fingerprint", "acme/tiny", hub.url, "main")
    await asyncio.to_thread(download_repository, request, ByteCounter())
    complete = marker.read_complete(directory)
    assert complete is not None
    return directory, Copy("team-a", "tiny", PATH, "fingerprint", complete.revision)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_second_node_fills_from_the_first_and_the_source_sees_each_byte_once(
    hub: Hub, pvc: tuple[Path, Copy], tmp_path: Path, key_file: Path
) -> None:
    directory, copy = pvc
    async with node(tmp_path / "a", key_file) as first, node(tmp_path / "b", key_file) as second:
        async with exported(directory) as url:
            await first.reaches(replace(copy, sources=(url,)), CopyPhase.COMPLETE)
        await second.reaches(replace(copy, sources=(first.url,)), CopyPhase.COMPLETE)
        assert first.files() == second.files() == FILES
    assert sum(hub.served_bytes.values()) == TOTAL_BYTES


@pytest.mark.asyncio(loop_scope="module")
async def test_a_fill_continues_at_another_source_where_one_breaks_off(
    pvc: tuple[Path, Copy], tmp_path: Path, key_file: Path
) -> None:
    directory, copy = pvc
    async with exported(directory) as url, node(tmp_path / "a", key_file) as only:
        dead = f"http://127.0.0.1:{free_port()}"
        await only.reaches(replace(copy, sources=(dead, url)), CopyPhase.COMPLETE)
        assert only.files() == FILES


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_agent_resumes(pvc: tuple[Path, Copy], tmp_path: Path, key_file: Path) -> None:
    directory, copy = pvc
    root = tmp_path / "a"
    async with exported(directory) as url:
        wanted = replace(copy, sources=(url,))
        slow = await _start(root, key_file, bytes_per_second=8 << 20)
        try:
            half = await slow.node.when(wanted, lambda state: state.done_bytes > TOTAL_BYTES / 2)
        finally:
            slow.process.send_signal(signal.SIGKILL)
            await slow.process.wait()
        # At 64 KiB a second, so many bytes in so short a time are those that the killed process left
        again = await _start(root, key_file, bytes_per_second=64 << 10)
        try:
            kept = half.done_bytes - 4 * STREAM_BYTES
            resumed = await again.node.when(wanted, lambda state: state.done_bytes >= kept)
        finally:
            again.process.send_signal(signal.SIGKILL)
            await again.process.wait()
        assert resumed.done_bytes < TOTAL_BYTES
        async with node(root, key_file) as last:
            await last.reaches(wanted, CopyPhase.COMPLETE)
            assert last.files() == FILES


@dataclass(frozen=True)
class _Process:
    process: asyncio.subprocess.Process
    node: Node


async def _start(root: Path, key_file: Path, bytes_per_second: int) -> _Process:
    """An agent in a process of its own."""
    port = free_port()
    environment = os.environ | {
        "ARKS_NODE_CACHE_DIR": str(root),
        "ARKS_NODE_CACHE_KEY_FILE": str(key_file),
        "ARKS_NODE_CACHE_PORT": str(port),
        "ARKS_NODE_CACHE_BYTES_PER_SECOND": str(bytes_per_second),
        "ARKS_NODE_CACHE_HIGH_PERCENT": "100",
    }
    command = [sys.executable, "-m", "arks.model_manager.programs.node_cache.agent"]
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    started = Node(f"http://127.0.0.1:{port}", root)

    async def answers() -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{started.url}/healthz") as response:
                    return response.ok
            except aiohttp.ClientError:
                return False

    await eventually(answers)
    return _Process(process, started)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_copy_that_does_not_fit_below_the_watermark_fails_with_the_reason(
    pvc: tuple[Path, Copy], tmp_path: Path, key_file: Path
) -> None:
    directory, copy = pvc
    full = {"node_cache_high_percent": 0.0, "node_cache_low_percent": 0.0}
    async with exported(directory) as url, node(tmp_path / "a", key_file, **full) as only:
        state = await only.reaches(replace(copy, sources=(url,)), CopyPhase.FAILED)
        assert "needs 25.2 MB more" in state.message
        assert only.files() == {}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_copy_that_is_not_kept_any_longer_is_removed_and_its_content_kept_until_space_is_needed(
    pvc: tuple[Path, Copy], tmp_path: Path, key_file: Path
) -> None:
    directory, copy = pvc
    async with node(tmp_path / "a", key_file) as only:
        async with exported(directory) as url:
            wanted = replace(copy, sources=(url,))
            await only.reaches(wanted, CopyPhase.COMPLETE)
        await only.keep([])
        await eventually(lambda: not (only.root / "namespaces/team-a" / PATH).exists())
        kept = {path.name for path in (only.root / ".arks/store/team-a").rglob("*") if path.is_file()}
        assert kept == {hashlib.sha256(content).hexdigest() for content in FILES.values()}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_ticket_of_another_namespace_opens_no_model(
    pvc: tuple[Path, Copy], tmp_path: Path, key_file: Path
) -> None:
    directory, copy = pvc
    async with node(tmp_path / "a", key_file) as only:
        async with exported(directory) as url:
            await only.reaches(replace(copy, sources=(url,)), CopyPhase.COMPLETE)
        listing = f"{only.url}/v1/namespaces/team-a/models/tiny/{copy.version}"
        statuses = {}
        async with aiohttp.ClientSession() as session:
            for name, key in {
                "own": tickets.namespace_key(KEY, "team-a"),
                "other": tickets.namespace_key(KEY, "team-b"),
                "none": "",
            }.items():
                headers = {"authorization": f"Bearer {tickets.ticket(key, time.time())}"} if key else {}
                for path in ("", "/files/model.safetensors", "/files/.arks/complete.json", "/files/..%2f..%2fx"):
                    async with session.get(listing + path, headers=headers) as response:
                        await response.read()
                        statuses[name, path] = response.status
    assert [status for (name, _), status in statuses.items() if name != "own"] == [401] * 8
    assert [status for (name, _), status in statuses.items() if name == "own"] == [200, 200, 404, 404]


@pytest.mark.asyncio(loop_scope="module")
async def test_an_agent_takes_commands_only_with_the_key_of_the_installation(tmp_path: Path, key_file: Path) -> None:
    async with node(tmp_path / "a", key_file) as only:
        with pytest.raises(aiohttp.ClientResponseError) as refused:
            await only.keep([], key="another key")
    assert refused.value.status == 401


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "outside",
    [
        {"path": "../team-b/x"},
        {"path": "/etc"},
        {"path": ".arks/store"},
        {"namespace": ".."},
        {"namespace": "a/b"},
        {"model": ""},
    ],
)
async def test_a_copy_outside_of_the_volume_of_its_namespace_is_refused(
    outside: dict[str, Any], pvc: tuple[Path, Copy], tmp_path: Path, key_file: Path
) -> None:
    async with node(tmp_path / "a", key_file) as only:
        with pytest.raises(aiohttp.ClientResponseError) as refused:
            await only.keep([replace(pvc[1], **outside)])
    assert refused.value.status == 400
