"""A process of a namespace that runs as root changes its volume, and a pod of it sends false listings."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from arks.contracts.resources import CopyPhase
from arks.kit.testing.wait import eventually
from arks.kit.testing.web import serving
from arks.model_manager.adapters import marker
from arks.model_manager.domain.node_cache import tickets
from arks.model_manager.domain.node_cache.copies import Copy
from arks.model_manager.domain.protocol import DownloadRequest
from arks.model_manager.programs.byte_counter import ByteCounter
from arks.model_manager.programs.repository import download_repository
from arks.model_manager.testing.hub import hub_server
from arks.model_manager.testing.node_cache import KEY, PATH, Node, exported, node

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="function")]

WEIGHTS = os.urandom(1 << 20)
FILES = {"config.json": b'{"architectures": ["Tiny"]}', "model.safetensors": WEIGHTS}


@dataclass(frozen=True)
class Cluster:
    """A node with complete copies of the same model for two namespaces."""

    node: Node
    ours: Copy
    theirs: Copy

    @property
    def volume(self) -> Path:
        return self.node.root / "namespaces/team-a"

    def their_files(self) -> dict[str, bytes]:
        return self.node.files(namespace="team-b")

    async def status_of(self, path: str, model: str = "tiny") -> tuple[int, bytes]:
        """The agent's answer to a holder of the key of team-a."""
        ticket = tickets.ticket(tickets.namespace_key(KEY, "team-a"), time.time())
        url = f"{self.node.url}/v1/namespaces/team-a/models/{quote(model, safe='')}/{self.ours.version}{path}"
        headers = {"authorization": f"Bearer {ticket}"}
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
            return response.status, await response.read()


@pytest_asyncio.fixture(loop_scope="function")
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    (tmp_path / "key").write_text(KEY)
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(hub_server())
        hub.add("acme/tiny", FILES)
        pvc = tmp_path / "pvc"
        request = DownloadRequest(str(pvc), "fingerprint", "acme/tiny", hub.url, "main")
        await asyncio.to_thread(download_repository, request, ByteCounter())
        complete = marker.read_complete(pvc)
        assert complete is not None
        copies = []
        for namespace in ("team-a", "team-b"):
            url = await stack.enter_async_context(exported(pvc, namespace))
            copies.append(Copy(namespace, "tiny", PATH, "fingerprint", complete.revision, (url,)))
        made = await stack.enter_async_context(node(tmp_path / "node", tmp_path / "key"))
        found = Cluster(made, *copies)
        await _kept(found, *copies)
        yield found


async def _kept(cluster: Cluster, *copies: Copy) -> None:
    """All of them are complete."""

    async def complete() -> bool:
        state = await cluster.node.keep(copies)
        return all(copy.phase is CopyPhase.COMPLETE for copy in state.copies)

    await eventually(complete)


async def test_a_fill_writes_through_no_link_of_its_volume(cluster: Cluster) -> None:
    own, other = cluster.volume / PATH, cluster.node.root / "namespaces/team-b" / PATH
    own.rename(cluster.volume / "away")
    own.symlink_to(other)
    before = _inodes(other)
    newer = replace(cluster.ours, fingerprint="of another source")
    await cluster.node.keep([newer, cluster.theirs])
    await asyncio.sleep(0)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(exported(_copy_of(cluster, newer)))
        await _kept(cluster, replace(newer, sources=(url,)), cluster.theirs)
    assert FILES == cluster.node.files()
    assert not own.is_symlink()
    assert before == _inodes(other)


def _copy_of(cluster: Cluster, copy: Copy) -> Path:
    """A directory with the files as another version of the model."""
    directory = cluster.node.root.parent / "other-pvc"
    directory.mkdir()
    for name, content in FILES.items():
        (directory / name).write_bytes(content)
    complete = marker.read_complete(cluster.node.root.parent / "pvc")
    assert complete is not None
    marker.mark_complete(directory, replace(complete, fingerprint=copy.fingerprint))
    return directory


def _inodes(directory: Path) -> dict[str, int]:
    return {str(path.relative_to(directory)): path.lstat().st_ino for path in directory.rglob("*")}


async def test_a_planted_marker_and_link_disclose_no_file_of_the_agent(cluster: Cluster) -> None:
    own = cluster.volume / PATH
    (own / "stolen").symlink_to(cluster.node.root.parent / "key")
    planted = json.loads((own / ".arks/complete.json").read_text())
    planted["files"].append({"path": "stolen", "size_bytes": len(KEY), "modified_ns": 0})
    (own / ".arks/complete.json").write_text(json.dumps(planted))
    status, body = await cluster.status_of("/files/stolen")
    assert (404, False) == (status, KEY.encode() in body)


async def test_a_file_that_a_link_replaces_is_not_read_through_it(cluster: Cluster) -> None:
    (cluster.volume / PATH / "config.json").unlink()
    (cluster.volume / PATH / "config.json").symlink_to(cluster.node.root.parent / "key")
    _, body = await cluster.status_of("/files/config.json")
    assert KEY.encode() not in body
    await _kept(cluster, cluster.ours, cluster.theirs)
    await eventually(lambda: not (cluster.volume / PATH / "config.json").is_symlink())
    assert FILES == cluster.node.files()


async def test_the_removal_of_a_copy_follows_no_link(cluster: Cluster) -> None:
    models = cluster.volume / "models"
    models.rename(cluster.volume / "away")
    models.symlink_to(cluster.node.root / "namespaces/team-b/models")
    await cluster.node.keep([cluster.theirs])
    await eventually(lambda: not models.is_symlink() and not any(cluster.volume.iterdir()))
    assert FILES == cluster.their_files()


async def test_changed_bytes_reach_no_other_copy(cluster: Cluster) -> None:
    target = cluster.volume / PATH / "model.safetensors"
    state = target.stat()
    with target.open("r+b") as file:
        file.write(b"changed")
    os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))  # only ctime shows it now
    assert FILES == cluster.their_files()
    status, body = await cluster.status_of("/files/model.safetensors")
    assert (404, False) == (status, b"changed" in body)
    await _kept(cluster, cluster.ours, cluster.theirs)  # the file is fetched again
    assert FILES == cluster.node.files()
    assert (200, WEIGHTS) == await cluster.status_of("/files/model.safetensors")


async def test_namespaces_share_no_file(cluster: Cluster) -> None:
    ours = set(_inodes(cluster.volume / PATH).values())
    theirs = set(_inodes(cluster.node.root / "namespaces/team-b" / PATH).values())
    assert set() == ours & theirs


@pytest.mark.parametrize("model", ["../team-b/tiny", "..", ".", "../../store", "tiny/"])
async def test_a_name_in_a_request_leads_to_no_other_namespace(cluster: Cluster, model: str) -> None:
    status, _ = await cluster.status_of("", model)
    assert 404 == status


@pytest.mark.parametrize(
    "file",
    [
        {"path": "../../team-b/x", "size_bytes": 1, "sha256": "0" * 64, "git_sha1": None},
        {"path": "x", "size_bytes": 1, "sha256": "../../../copies/team-b/tiny/model.safetensors", "git_sha1": None},
        {"path": "\ud800", "size_bytes": 1, "sha256": "0" * 64, "git_sha1": None},
        {"path": "x\0", "size_bytes": 1, "sha256": "0" * 64, "git_sha1": None},
        {"path": "", "size_bytes": 1, "sha256": "0" * 64, "git_sha1": None},
        {"path": "x" * 300, "size_bytes": 1, "sha256": "0" * 64, "git_sha1": None},
        {"path": "x", "size_bytes": "1", "sha256": "0" * 64, "git_sha1": None},
        {"path": "x", "size_bytes": -1, "sha256": "0" * 64, "git_sha1": None},
        {"path": "x", "size_bytes": 1, "sha256": 5, "git_sha1": None},
        {"path": "x", "size_bytes": 1 << 62, "sha256": "0" * 64, "git_sha1": None},
        {},
    ],
)
async def test_a_false_listing_fails_its_own_copy_and_no_other(cluster: Cluster, file: dict[str, Any]) -> None:
    body = {"fingerprint": "false", "revision": "1", "files": [file]}
    false = Copy("team-a", "false", "models/team-a/false", "false", "1")

    async def listing(_: web.Request) -> web.Response:
        return web.json_response(body)

    application = web.Application()
    application.add_routes([web.get("/{path:.*}", listing)])
    async with serving(application) as port:
        wanted = [replace(false, sources=(f"http://127.0.0.1:{port}",)), cluster.ours, cluster.theirs]

        async def failed() -> bool:
            state = await cluster.node.keep(wanted)
            return bool(state.copies[0].message)

        await eventually(failed)
        other = Copy("team-b", "second", "second", "fingerprint", cluster.theirs.revision)
        async with exported(cluster.node.root.parent / "pvc", "team-b", model="second") as url:
            await _kept(cluster, replace(other, sources=(url,)), cluster.ours, cluster.theirs)
    assert FILES == cluster.node.files() == cluster.their_files()


async def test_a_listing_without_an_end_is_not_read_to_its_end(cluster: Cluster) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * (1 << 20))

    application = web.Application()
    application.add_routes([web.get("/{path:.*}", endless)])
    async with serving(application) as port:
        false = Copy("team-a", "false", "models/team-a/false", "false", "1", (f"http://127.0.0.1:{port}",))

        async def failed() -> bool:
            return "does not answer as an agent does" in (await cluster.node.keep([false])).copies[0].message

        await eventually(failed)
