"""Questions over HTTP, on the health server's port: why does traffic go where it goes?"""

from collections.abc import Sequence
from typing import Any, Protocol

from aiohttp import web

from arks.kit.reconcile import Key


class Explains(Protocol):
    def explain(self, key: Key) -> dict[str, Any] | None: ...
    def endpoints(self) -> list[Key]: ...


def routes(explains: Explains) -> Sequence[web.RouteDef]:
    """`/explain`: the endpoints; `/explain/<namespace>/<endpoint>`: its newest decision and the last that mattered."""

    async def index(_: web.Request) -> web.Response:
        return web.json_response({"endpoints": [f"{key.namespace}/{key.name}" for key in explains.endpoints()]})

    async def explain(request: web.Request) -> web.Response:
        key = Key(request.match_info["namespace"], request.match_info["endpoint"])
        found = explains.explain(key)
        if found is None:
            return web.json_response({"error": f"there is no endpoint {key}"}, status=404)
        return web.json_response(found)

    return [web.get("/explain", index), web.get("/explain/{namespace}/{endpoint}", explain)]
