from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from arks.contracts.gateway_token import TokenGate
from arks.endpoint_router.api.explain import routes
from arks.endpoint_router.testing.harness import CHAT, RouterHarness


@pytest_asyncio.fixture
async def client(serving: RouterHarness) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    application = web.Application()
    application.add_routes(routes(serving.router, TokenGate("ours")))
    async with TestClient(TestServer(application), headers={"authorization": "Bearer ours"}) as client:
        yield client


Client = TestClient[web.Request, web.Application]


async def test_endpoints_are_listed(client: Client) -> None:
    assert {"endpoints": ["team/chat"]} == await (await client.get("/explain")).json()


async def test_an_endpoint_is_explained(client: Client, serving: RouterHarness) -> None:
    assert serving.router.explain(CHAT) == await (await client.get("/explain/team/chat")).json()


async def test_decisions_are_for_operators_only(client: Client) -> None:
    for path in ("/explain", "/explain/team/chat"):
        answers = [
            await client.get(path, headers=headers)
            for headers in ({"authorization": ""}, {"authorization": "Bearer sk-tom"}, {"x-arks-operator-token": "x"})
        ]
        assert [401] * 3 == [response.status for response in answers]
    header = {"authorization": "", "x-arks-operator-token": "ours"}  # as the API server's proxy passes on
    assert 200 == (await client.get("/explain", headers=header)).status


async def test_an_unknown_endpoint_is_404_and_named(client: Client) -> None:
    response = await client.get("/explain/team/other")
    assert (404, {"error": "there is no endpoint team/other"}) == (response.status, await response.json())
