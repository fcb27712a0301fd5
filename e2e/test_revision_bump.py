"""A new revision of a model comes into the directory from which an engine serves."""

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from arks.app_deployer.testing.engine_server import engine_server
from arks.kit.testing.servers import small_model
from arks.kit.testing.wait import eventually
from arks.model_manager.adapters import marker
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.repository import download_repository
from arks.model_manager.testing.hub import Hub, hub_server

pytestmark = pytest.mark.real
NAME = "acme/small"
SHORT = {"prompt": "word", "max_tokens": 4}


async def test_a_revision_bump_costs_no_request_and_fetches_what_changed(tmp_path: Path) -> None:
    directory = tmp_path / "model"
    async with hub_server() as hub:
        request = add_revisions(hub, directory)
        await asyncio.to_thread(download_repository, request, ByteCounter())
        weights = directory / "model.gguf"
        inode, fetched = weights.stat().st_ino, hub.served_bytes["model.gguf"]
        async with (
            engine_server(tmp_path / "engine", model=weights) as server,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as client,
        ):

            async def healthy() -> bool:
                return (await client.get("/health")).status_code == 200

            await eventually(healthy, what="the model", within_seconds=60)
            ended = asyncio.Event()
            traffic = asyncio.create_task(requests(client, ended))
            newer = replace(request, revision="v2", fingerprint="v2")
            await asyncio.to_thread(download_repository, newer, ByteCounter())
            ended.set()
            assert {200} == set(await traffic)
    complete = marker.read_complete(directory)
    assert complete is not None
    assert "v2" == complete.fingerprint
    assert b'{"new": true}' == (directory / "config.json").read_bytes()
    assert (inode, fetched) == (weights.stat().st_ino, hub.served_bytes["model.gguf"])
    assert ["model.gguf"] == [path.name for path in tmp_path.rglob("*") if path.stat().st_size > fetched / 2]


def add_revisions(hub: Hub, directory: Path) -> DownloadRequest:
    weights = small_model().read_bytes()
    hub.add(NAME, {"config.json": b"{}", "model.gguf": weights}, revision="v1")
    hub.add(NAME, {"config.json": b'{"new": true}', "model.gguf": weights}, revision="v2")
    return DownloadRequest(str(directory), "v1", NAME, hub.url, "v1")


async def requests(client: httpx.AsyncClient, ended: asyncio.Event) -> list[int]:
    """Statuses of requests one after the other until `ended`, one more included."""
    statuses = []
    while True:
        last = ended.is_set()
        statuses.append((await client.post("/v1/completions", json=SHORT)).status_code)
        if last:
            return statuses
