"""Serve the files of complete models to agents, to callers with a ticket of the model's namespace.

A file is served if the marker of its model lists it; the version in the path is that of the marker.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

from arks.kit.ports import listening_socket
from arks.model_manager.adapters import marker
from arks.model_manager.domain.node_cache import tickets
from arks.model_manager.domain.node_cache.copies import version_of
from arks.model_manager.programs.sources.source import RemoteFile

LISTING = "/v1/namespaces/{namespace}/models/{model}/{version}"
FILE = LISTING + "/files/{path:.+}"

KeyOf = Callable[[str], str | None]
"""The key of a namespace; None: its models are not served."""
DirectoryOf = Callable[[str, str], Path | None]
"""The directory of a model, by namespace and name; None if it is not here."""


class ModelFiles:
    def __init__(self, key_of: KeyOf, directory_of: DirectoryOf, now: Callable[[], float] = time.time) -> None:
        """`now`: Unix seconds."""
        self._key_of = key_of
        self._directory_of = directory_of
        self._now = now

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/healthz", _live), web.get(LISTING, self._listing), web.get(FILE, self._file)]

    async def _listing(self, request: web.Request) -> web.Response:
        _, complete = await self._model(request)
        files = [asdict(_remote(file)) for file in complete.files]
        return web.json_response({"fingerprint": complete.fingerprint, "revision": complete.revision, "files": files})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        directory, complete = await self._model(request)
        path = request.match_info["path"]
        if all(file.path != path for file in complete.files):
            raise web.HTTPNotFound
        return web.FileResponse(directory / path)

    async def _model(self, request: web.Request) -> tuple[Path, marker.Complete]:
        namespace, model = request.match_info["namespace"], request.match_info["model"]
        require_ticket(request, self._key_of(namespace), self._now())
        directory = self._directory_of(namespace, model)
        complete = await asyncio.to_thread(marker.read_complete, directory) if directory is not None else None
        if directory is None or complete is None:
            raise web.HTTPNotFound
        if version_of(complete.fingerprint, complete.revision) != request.match_info["version"]:
            raise web.HTTPNotFound
        return directory, complete


def require_ticket(request: web.Request, key: str | None, now: float) -> None:
    """Raises HTTPUnauthorized if the request has no ticket of the key."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if key is None or scheme != "Bearer" or not tickets.is_valid(key, given, now):
        raise web.HTTPUnauthorized


def _remote(file: marker.StoredFile) -> RemoteFile:
    """As a source lists it, with the hash that was computed if the model's source gave none."""
    sha256 = file.sha256 or file.content_sha256
    return RemoteFile(file.path, file.size_bytes, sha256=sha256, git_sha1=None if sha256 else file.git_sha1)


async def _live(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


@asynccontextmanager
async def listening(application: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Serve the application until the end of the block. Yields the port. Raises OSError if it is in use."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening_socket(host, port)).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
