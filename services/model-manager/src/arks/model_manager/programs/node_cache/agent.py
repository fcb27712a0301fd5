"""The agent of a node: `python -m arks.model_manager.programs.node_cache.agent`.

It keeps the copies that model-manager lists, and serves complete ones to agents of other nodes. It has no account in
the cluster. A kill at any moment loses at most a block a stream.
"""

import asyncio
import time
from collections.abc import Awaitable

import structlog
from aiohttp import web

from arks.kit.settings import read_secret
from arks.kit.telemetry import configure_logging
from arks.model_manager.config import NodeCacheSettings
from arks.model_manager.domain.node_cache.copies import COPIES, AgentState, copies_from_json, state_to_json
from arks.model_manager.domain.node_cache.tickets import control_key, namespace_key
from arks.model_manager.programs.node_cache.disk import CopyDisk, is_safe
from arks.model_manager.programs.node_cache.fills import Fills
from arks.model_manager.programs.node_cache.intact import Intact
from arks.model_manager.programs.node_cache.routes import ModelFiles, listening, require_ticket
from arks.model_manager.programs.termination import end_at_sigterm

log = structlog.get_logger(__name__)

_MOST_BYTES = 4 << 20
"""Of a list of copies: 10,000 of them."""


class Control:
    """Takes the list of copies from model-manager."""

    def __init__(self, fills: Fills, key: str) -> None:
        self._fills = fills
        self._key = control_key(key)

    def routes(self) -> list[web.RouteDef]:
        return [web.put(COPIES, self._keep), web.get(COPIES, self._found)]

    async def _keep(self, request: web.Request) -> web.Response:
        require_ticket(request, self._key, time.time())
        try:
            copies = copies_from_json(await request.read())
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"not a list of copies: {error}") from error
        if not all(map(is_safe, copies)):
            raise web.HTTPBadRequest(text="a copy is outside of the volume of its namespace")
        return await _answer(self._fills.keep(copies))

    async def _found(self, request: web.Request) -> web.Response:
        require_ticket(request, self._key, time.time())
        return await _answer(self._fills.found())


async def _answer(state: Awaitable[AgentState]) -> web.Response:
    try:
        return web.Response(body=state_to_json(await state), content_type="application/json")
    except OSError as error:
        raise web.HTTPServiceUnavailable(text=f"the disk of the cache: {error.strerror}") from error


def build(settings: NodeCacheSettings) -> tuple[web.Application, Fills]:
    """The agent's routes, and what fills its copies. Raises OSError and ValueError for a key that is of no use."""
    key = read_secret(settings.node_cache_key_file)
    if key is None:
        raise ValueError("ARKS_NODE_CACHE_KEY_FILE is not set")
    disk = CopyDisk(settings.node_cache_dir, settings.marks())
    rate, connections = settings.node_cache_bytes_per_second, settings.node_cache_connections
    fills = Fills(disk, key, connections=connections, bytes_per_second=rate)
    files = ModelFiles(lambda namespace: namespace_key(key, namespace), disk.directory_of, Intact().holds)
    application = web.Application(client_max_size=_MOST_BYTES)
    application.add_routes([*Control(fills, key).routes(), *files.routes()])
    return application, fills


async def serve(settings: NodeCacheSettings) -> None:
    """Until it is cancelled. Raises OSError and ValueError."""
    application, fills = build(settings)
    async with listening(application, settings.node_cache_host, settings.node_cache_port) as port:
        log.info("agent listens", port=port, directory=str(settings.node_cache_dir))
        await fills.run()


def main() -> None:
    settings = NodeCacheSettings()
    configure_logging("node-cache", settings.log_level)
    end_at_sigterm()
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
