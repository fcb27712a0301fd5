"""Every source: kills at any point, connections that break off, busy servers and slow lines."""

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.kit.ports import free_port
from arks.kit.testing.servers import serve
from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.protocol import DownloadRequest, request_to_json
from arks.model_manager.domain.source_kind import HttpFile, SourceKind
from arks.model_manager.programs.partial_file import chunk_bytes
from arks.model_manager.testing.downloads import downloaded
from arks.model_manager.testing.fault_proxy import FaultProxy, fault_proxy
from arks.model_manager.testing.hub import hub_server
from arks.model_manager.testing.modelscope import modelscope_server
from arks.model_manager.testing.registry import registry_server
from arks.model_manager.testing.web import web_server

BINARIES = Path(os.environ.get("KUBE_BIN", Path.home() / ".cache/arks-kube/bin"))
STREAMS = 2
WEIGHTS = os.urandom(12 << 20)
FILES = {"model.safetensors": WEIGHTS}
AGAIN_BYTES = 2 << 20
"""Of each stream and kill: a block, and what the sockets held."""
LISTING_BYTES = 1 << 20

Behind = tuple[DownloadRequest, FaultProxy]
Source = Callable[[Path], AbstractAsyncContextManager[Behind]]
"""Of a directory: a request for FILES, and the proxy through which it goes."""


def request_of(directory: Path, repository: str, endpoint: str, revision: str, kind: SourceKind) -> DownloadRequest:
    return DownloadRequest(
        str(directory / "model"), "f", repository, endpoint, revision, kind=kind, connections=STREAMS
    )


@asynccontextmanager
async def hub(directory: Path) -> AsyncIterator[Behind]:
    async with hub_server() as server, fault_proxy(port_of(server.url)) as proxy:
        server.add("acme/tiny", FILES)
        yield request_of(directory, "acme/tiny", url_of(proxy), "main", SourceKind.HUB), proxy


@asynccontextmanager
async def modelscope(directory: Path) -> AsyncIterator[Behind]:
    async with modelscope_server() as server, fault_proxy(port_of(server.url)) as proxy:
        server.files = FILES
        yield request_of(directory, "acme/tiny", url_of(proxy), "master", SourceKind.MODELSCOPE), proxy


@asynccontextmanager
async def http(directory: Path) -> AsyncIterator[Behind]:
    async with web_server() as server, fault_proxy(server.port) as proxy:
        server.files["/m"] = WEIGHTS
        file = HttpFile(f"{url_of(proxy)}/m", "model.safetensors", hashlib.sha256(WEIGHTS).hexdigest())
        yield replace(request_of(directory, "", "", "", SourceKind.HTTP), files=(file,)), proxy


@asynccontextmanager
async def oci(directory: Path) -> AsyncIterator[Behind]:
    async with registry_server() as server, fault_proxy(port_of(f"http://{server.host}")) as proxy:
        server.push("v1", FILES)
        yield request_of(directory, f"127.0.0.1:{proxy.port}/acme/tiny:v1", "http", "", SourceKind.OCI), proxy


@asynccontextmanager
async def s3(directory: Path) -> AsyncIterator[Behind]:
    (directory / "s3/weights/tiny").mkdir(parents=True)
    (directory / "iam").mkdir()
    for name, content in FILES.items():
        (directory / "s3/weights/tiny" / name).write_bytes(content)
    port = free_port()
    command = [str(BINARIES / "versitygw"), "--port", f"127.0.0.1:{port}", "--access", "user", "--secret", "secret"]
    command += ["--iam-dir", str(directory / "iam"), "posix", str(directory / "s3")]
    async with serve(command, port, directory), fault_proxy(port) as proxy:
        made = request_of(directory, "s3://weights/tiny", url_of(proxy), "", SourceKind.S3)
        keys = {"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "secret"}
        yield replace(made, region="us-east-1", credentials=keys), proxy


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def url_of(proxy: FaultProxy) -> str:
    return f"http://127.0.0.1:{proxy.port}"


SOURCES = [
    *(pytest.param(source, id=source.__name__, marks=pytest.mark.real) for source in (hub, modelscope, http, oci)),
    pytest.param(s3, id="s3", marks=pytest.mark.kube),  # its server is built with the programs of the test cluster
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_download_that_is_killed_at_any_point_resumes(
    source: Source, tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(max_examples=2, deadline=None)
    @given(points=st.lists(st.floats(0.1, 0.95), min_size=1, max_size=2, unique=True).map(sorted))
    def resumes(points: list[float]) -> None:
        asyncio.run(killed_at(source, points, tmp_path_factory.mktemp("kills")))

    resumes()


async def killed_at(source: Source, points: list[float], directory: Path) -> None:
    async with source(directory) as (request, proxy):
        for point in points:
            proxy.hold_at, proxy.held = proxy.sent_bytes + int(point * len(WEIGHTS)), asyncio.Event()
            process = await process_of(request)
            held = asyncio.create_task(proxy.held.wait())
            ended = asyncio.create_task(process.wait())
            await asyncio.wait([held, ended], timeout=60, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                process.send_signal(signal.SIGKILL)
            await ended
            held.cancel()
            proxy.hold_at = None
        assert FILES == await downloaded(request)
        # Of a file without a hash, a chunk counts once it is whole and on the disk.
        again = chunk_bytes(len(WEIGHTS)) if request.kind is SourceKind.S3 else AGAIN_BYTES
        assert proxy.sent_bytes - len(WEIGHTS) < len(points) * STREAMS * again + LISTING_BYTES


async def process_of(request: DownloadRequest) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "arks.model_manager.programs.download"]
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=null)
    assert process.stdin is not None
    process.stdin.write(request_to_json(request))
    process.stdin.close()
    return process


FAULTS: dict[str, Callable[[FaultProxy], None]] = {
    "429": lambda proxy: proxy.statuses.extend([429, 429]),
    "503": lambda proxy: proxy.statuses.extend([503]),
    "bodies that break off": lambda proxy: proxy.cuts.extend([1 << 20, 3 << 20, 100_000]),
    "a slow line": lambda proxy: setattr(proxy, "pause_seconds", 0.002),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("source", SOURCES)
async def test_a_download_outlasts_faults_of_its_server(source: Source, fault: str, tmp_path: Path) -> None:
    async with source(tmp_path) as (request, proxy):
        FAULTS[fault](proxy)
        assert FILES == await with_retries(request)
        assert not proxy.statuses
        assert not proxy.cuts


async def with_retries(request: DownloadRequest) -> dict[str, bytes]:
    """As the service downloads: a fault of the network is no end."""
    for _ in range(3):
        try:
            return await downloaded(request)
        except DownloadFailed as failure:
            assert FailureKind.NETWORK is failure.kind
    return {}
