"""More requests than an endpoint's replicas can take soon, through a real Envoy that the router configures."""

import asyncio
import itertools
from typing import Any

import aiohttp
import httpx
import pytest

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.subjects import Facts, fact_key
from arks.endpoint_router.adapters.envoy.clusters import LEAST_RETRIES
from arks.endpoint_router.domain.native import LEAST_REQUESTS
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.bus import to_json
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
Platform = Any  # of conftest.py, which cannot be imported
EXCESS = 6
REQUESTS = LEAST_RETRIES + 64


async def write_slots(platform: Platform, port: int, slots: int) -> None:
    replica = ReplicaFact("chat-0", "127.0.0.1", port, ReplicaState.READY, slots).to_message()
    fact = ReplicasFact(namespace="default", application="chat", served_model="chat", replicas=[replica])
    bucket = await platform.home.bus.bucket(Facts.REPLICAS)
    await bucket.put(fact_key("default", "chat"), to_json(fact))


async def test_a_request_beyond_the_replicas_slots_and_queue_is_rejected_with_the_time_that_the_queue_takes(
    platform: Platform,
) -> None:
    engine = await platform.engine()
    engine.hold = asyncio.Event()
    await platform.apply("chat")
    await write_slots(platform, engine.port, 4)
    await platform.router()
    await platform.envoy()
    accepted: list[asyncio.Task[httpx.Response]] = []

    async def arrived() -> bool:
        return bool(await platform.stat("cluster.default/chat.upstream_rq_active") == len(accepted))

    async def serving() -> bool:
        accepted[:] = [asyncio.create_task(platform.post("chat"))]
        await asyncio.sleep(0.1)
        return not accepted[0].done() and await arrived()

    await eventually(serving, within_seconds=30, what="the first request waits at the engine")
    accepted += [asyncio.create_task(platform.post("chat")) for _ in range(LEAST_REQUESTS - 1)]
    await eventually(arrived, what="the endpoint is full")

    rejected = await asyncio.gather(*(platform.post("chat") for _ in range(EXCESS)))
    assert [(503, "overloaded", "server_error", "1")] * EXCESS == [
        (r.status_code, (e := r.json()["error"])["code"], e["type"], r.headers["retry-after"]) for r in rejected
    ]

    async def drain_time() -> bool:
        await platform.load("chat", 8.0, waiting=60)
        return bool((await platform.post("chat")).headers["retry-after"] == "10")  # 60 requests, 8 a second

    await eventually(drain_time, what="the time from the drain rate")
    engine.hold.set()
    assert {200} == {response.status_code for response in await asyncio.gather(*accepted)}
    assert LEAST_REQUESTS == engine.served


async def test_retries_of_an_endpoint_whose_replicas_all_fail_stay_within_its_budget(platform: Platform) -> None:
    arrived, all_arrived = itertools.count(1), asyncio.Event()

    async def break_together(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        if next(arrived) >= REQUESTS:
            all_arrived.set()
        await all_arrived.wait()
        writer.transport.abort()

    servers = [await asyncio.start_server(break_together, "127.0.0.1", 0, backlog=REQUESTS) for _ in range(8)]
    await platform.apply("chat")
    await platform.report("chat", [server.sockets[0].getsockname()[1] for server in servers])
    await platform.router()
    await platform.envoy()

    async def limited() -> bool:
        layers = (await platform.client.get(f"{platform.admin}/runtime")).json()
        return "circuit_breakers.default/chat.default.retry_budget.budget_percent" in layers["entries"]

    await eventually(limited, what="the budget")
    url = f"http://127.0.0.1:{platform.settings.gateway_port}/v1/chat/completions"
    headers = {"authorization": "Bearer k"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as client:
        requests = (client.post(url, json={"model": "chat", "messages": [{}]}) for _ in range(REQUESTS))
        assert {503} == {response.status for response in await asyncio.gather(*requests)}
    assert await platform.stat("cluster.default/chat.upstream_rq_retry_overflow") > 0
    for server in servers:
        server.close()
        await server.wait_closed()
