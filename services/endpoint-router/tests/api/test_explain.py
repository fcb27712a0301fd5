from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from arks.endpoint_router.api.explain import routes
from arks.kit.reconcile import Key


class FakeRouter:
    def explain(self, key: Key) -> dict[str, Any] | None:
        return {"name": key.name} if key == Key("team", "chat") else None

    def endpoints(self) -> list[Key]:
        return [Key("team", "chat")]


def client() -> TestClient[web.Request, web.Application]:
    application = web.Application()
    application.add_routes(routes(FakeRouter()))
    return TestClient(TestServer(application))


async def test_endpoints_are_listed() -> None:
    async with client() as asking:
        assert {"endpoints": ["team/chat"]} == await (await asking.get("/explain")).json()


async def test_an_endpoint_is_explained() -> None:
    async with client() as asking:
        assert {"name": "chat"} == await (await asking.get("/explain/team/chat")).json()


async def test_an_unknown_endpoint_is_404_and_named() -> None:
    async with client() as asking:
        response = await asking.get("/explain/team/other")
        assert (404, {"error": "there is no endpoint team/other"}) == (response.status, await response.json())
