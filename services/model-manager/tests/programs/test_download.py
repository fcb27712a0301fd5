"""The download process: full disks and kills."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from arks.kit.testing.wait import eventually
from arks.model_manager.adapters import marker
from arks.model_manager.domain.protocol import DownloadRequest, request_to_json
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY
from arks.model_manager.programs.sources.remote import BLOCK_BYTES
from arks.model_manager.testing.hub import Hub, hub_server

pytestmark = pytest.mark.real

WEIGHTS = os.urandom(1_500_000)
CONFIG = b'{"architectures": ["Tiny"]}'
FILES = {"config.json": CONFIG, "model.gguf": WEIGHTS, "sub/vocab.txt": b"a\nb\n", "empty.txt": b""}
MANY = "acme/tiny"


@pytest_asyncio.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hub_server() as hub:
        yield hub


@pytest.fixture
def request_for(hub: Hub, tmp_path: Path) -> DownloadRequest:
    hub.add(MANY, FILES)
    return DownloadRequest(str(tmp_path / "model"), "fingerprint", MANY, hub.url, "main")


def stored(request: DownloadRequest) -> dict[str, bytes]:
    root = Path(request.directory)
    files = (path for path in root.rglob("*") if path.is_file() and ARKS_DIRECTORY not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def process(request: DownloadRequest, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "arks.model_manager.programs.download"]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
    assert started.stdin is not None
    started.stdin.write(request_to_json(request))
    started.stdin.close()
    started.stdin = None
    return started  # type: ignore[no-any-return]


async def last_report(started: subprocess.Popen[bytes]) -> dict[str, object]:
    output, _ = await asyncio.to_thread(started.communicate)
    last: dict[str, object] = json.loads(output.splitlines()[-1])
    return last


async def test_a_disk_that_fills_during_a_download_is_a_failure_with_its_reason(request_for: DownloadRequest) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, 700_000))

    report = await last_report(process(request_for, preexec_fn=limit))
    assert (report["failure"], "no space left" in str(report["message"])) == ("no-space", True)


async def test_a_killed_process_resumes_and_downloads_at_most_a_block_twice(
    hub: Hub, request_for: DownloadRequest
) -> None:
    hub.hold = asyncio.Event()
    started = process(request_for)
    directory = marker.partial_directory(Path(request_for.directory))
    half = len(WEIGHTS) // 2

    def sizes() -> Iterator[int]:
        for part in directory.glob("*.part"):
            with contextlib.suppress(FileNotFoundError):  # complete, and renamed
                yield part.stat().st_size

    await eventually(lambda: any(size > half - 300_000 for size in sizes()), what="half of the file")
    started.send_signal(signal.SIGKILL)
    await asyncio.to_thread(started.communicate)
    here = max(sizes())
    hub.hold.set()
    hub.served.clear()
    report = await last_report(process(request_for))
    assert report["done"] is True
    (start,) = [served.start for served in hub.served if served.path == "model.gguf"]
    # The kill may come after a block is in the file and before the table has it.
    assert 0 < start <= here
    assert here - start < 2 * BLOCK_BYTES  # a block has at least BLOCK_BYTES, and ends with a read of the socket
    assert stored(request_for) == FILES
