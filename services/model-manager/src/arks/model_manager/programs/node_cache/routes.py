"""Serve the files of complete models to agents, to callers with a ticket of the model's namespace.

A file is served if the marker of its model lists it and its content is what was checked when it came; the version in
the path is that of the marker.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

from arks.kit.ports import listening_socket
from arks.model_manager.adapters import marker
from arks.model_manager.domain.node_cache import tickets
from arks.model_manager.domain.node_cache.copies import version_of
from arks.model_manager.programs.node_cache.intact import remote

LISTING = "/v1/namespaces/{namespace}/models/{model}/{version}"
FILE = LISTING + "/files/{path:.+}"

KeyOf = Callable[[str], str | None]
"""The key of a namespace; None: its models are not served."""
DirectoryOf = Callable[[str, str], Path | None]
"""The directory of a model, by namespace and name; None if it is not here."""
Holds = Callable[[Path, marker.StoredFile], Awaitable[bool]]
"""Whether a file still has its content. Raises TimeoutError if that takes long."""


class ModelFiles:
    def __init__(
        self,
        key_of: KeyOf,
        directory_of: DirectoryOf,
        holds: Holds | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`holds`: None serves without a check; who receives it checks. `now`: Unix seconds."""
        self._key_of = key_of
        self._directory_of = directory_of
        self._holds = holds
        self._now = now

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/healthz", _live), web.get(LISTING, self._listing), web.get(FILE, self._file)]

    async def _listing(self, request: web.Request) -> web.Response:
        _, complete = await self._model(request)
        files = [asdict(remote(file)) for file in complete.files]
        return web.json_response({"fingerprint": complete.fingerprint, "revision": complete.revision, "files": files})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        directory, complete = await self._model(request)
        file = next((file for file in complete.files if file.path == request.match_info["path"]), None)
        if file is None or not await self._is_intact(directory / file.path, file):
            raise web.HTTPNotFound
        return web.FileResponse(directory / file.path)

    async def _is_intact(self, path: Path, file: marker.StoredFile) -> bool:
        if self._holds is None:
            return True
        try:
            return await self._holds(path, file)
        except TimeoutError:
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "10"}, text="the file is checked") from None

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
