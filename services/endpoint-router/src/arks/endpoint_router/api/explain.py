"""GET /explain on the health server's port: why replicas have their weights."""

from collections.abc import Sequence

from aiohttp import web

from arks.contracts.gateway_token import OPERATOR_TOKEN_HEADER, TokenGate, bearer
from arks.endpoint_router.service.router import EndpointRouter
from arks.kit.key import Key


def routes(router: EndpointRouter, gate: TokenGate) -> Sequence[web.RouteDef]:
    """Return the routes, which need the token of an operator.

    `/explain` lists endpoints; `/explain/<namespace>/<endpoint>` returns its newest decision and the last ones that
    changed something.
    """

    def refusal(request: web.Request) -> web.Response | None:
        given = request.headers.get(OPERATOR_TOKEN_HEADER) or bearer(request.headers.get("authorization"))
        if gate.accepts(given):
            return None
        return web.json_response({"error": "the operator's token is needed"}, status=401)

    async def index(request: web.Request) -> web.Response:
        if (refused := refusal(request)) is not None:
            return refused
        return web.json_response({"endpoints": [f"{key.namespace}/{key.name}" for key in router.endpoints()]})

    async def explain(request: web.Request) -> web.Response:
        if (refused := refusal(request)) is not None:
            return refused
        key = Key(request.match_info["namespace"], request.match_info["endpoint"])
        found = router.explain(key)
        if found is None:
            return web.json_response({"error": f"there is no endpoint {key}"}, status=404)
        return web.json_response(found)

    return [web.get("/explain", index), web.get("/explain/{namespace}/{endpoint}", explain)]
