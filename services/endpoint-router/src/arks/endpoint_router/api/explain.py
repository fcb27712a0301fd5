"""GET /explain on the health server's port: why replicas have their weights."""

from collections.abc import Sequence

from aiohttp import web

from arks.endpoint_router.service.router import EndpointRouter
from arks.kit.key import Key


def routes(router: EndpointRouter) -> Sequence[web.RouteDef]:
    """Return the routes.

    `/explain` lists endpoints; `/explain/<namespace>/<endpoint>` returns its newest decision and the last ones that
    changed something.
    """

    async def index(_: web.Request) -> web.Response:
        return web.json_response({"endpoints": [f"{key.namespace}/{key.name}" for key in router.endpoints()]})

    async def explain(request: web.Request) -> web.Response:
        key = Key(request.match_info["namespace"], request.match_info["endpoint"])
        found = router.explain(key)
        if found is None:
            return web.json_response({"error": f"there is no endpoint {key}"}, status=404)
        return web.json_response(found)

    return [web.get("/explain", index), web.get("/explain/{namespace}/{endpoint}", explain)]
