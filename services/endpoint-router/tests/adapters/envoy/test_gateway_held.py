"""Requests that token-quota holds until a replica is ready, through a real Envoy."""

import asyncio
from itertools import count

import httpx
import pytest

from arks.endpoint_router.testing.gateway import Gateway, grant
from arks.endpoint_router.testing.scripted import Request, Script, answer
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real

BODY = b'{"model":"m","max_tokens":7}'
OTHER = "default/m/bob/other0000001/10/20"
LATE = b'{"error":{"message":"starting","type":"server_error","param":null,"code":"endpoint_not_ready"}}'


def holding(ready: asyncio.Event, then: Script | None = None) -> Script:
    """Return a script that holds each request until `ready`, and then gives it a grant of its own, or `then`."""
    wait, numbers = answer(b"", 202, x_arks_wait="60000"), count(1)

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path == "/v1/admit":
            return await wait(request, writer)
        await ready.wait()
        granted = grant(x_arks_grant=f"default/m/alice/lease{next(numbers):07}/10/20")
        return await (then or granted)(request, writer)

    return script


async def test_a_held_request_waits_longer_than_a_query_may_and_starts_once(gateway: Gateway) -> None:
    ready = asyncio.Event()
    gateway.admission.script = holding(ready)
    request = asyncio.create_task(gateway.post(BODY))
    await eventually(lambda: gateway.queries("/v1/wait"), what="a query that waits")
    await asyncio.wait({request}, timeout=2.2)  # a query of admission fails after 2 s
    assert not request.done()
    ready.set()
    assert 200 == (await request).status_code
    [wait] = gateway.queries("/v1/wait")
    assert ("m", "0,0,0") == (wait.headers["x-arks-model"], wait.headers["x-arks-demand"])
    assert ["L", "S"] == [columns[0] for columns in gateway.starts()]
    assert 1 == len(gateway.engine.requests)


async def test_a_request_that_waited_in_vain_gets_the_rejection(gateway: Gateway) -> None:
    ready = asyncio.Event()
    ready.set()
    gateway.admission.script = holding(ready, answer(LATE, 503, retry_after="40"))
    response = await gateway.post(BODY)
    assert (503, "40") == (response.status_code, response.headers["retry-after"])
    assert "endpoint_not_ready" == response.json()["error"]["code"]
    assert not gateway.engine.requests


async def test_a_client_that_hangs_up_ends_its_query(gateway: Gateway) -> None:
    gateway.admission.script = holding(asyncio.Event())
    with pytest.raises(httpx.ReadTimeout):
        await gateway.post(BODY, timeout=0.5)
    await eventually(lambda: gateway.queries("/v1/wait"), what="a query that waits")

    async def ended() -> bool:
        return await gateway.stat("cluster.token-quota.upstream_rq_active") == 0

    await eventually(ended, what="the end of the query")


async def test_others_pass_while_many_are_held(gateway: Gateway) -> None:
    ready = asyncio.Event()
    gateway.admission.script = holding(ready)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=gateway.client.base_url, timeout=60, limits=limits) as crowd:
        gateway.client, other = crowd, gateway.client
        requests = [asyncio.create_task(gateway.post(BODY)) for _ in range(100)]
        await eventually(lambda: len(gateway.queries("/v1/wait")) == 100, what="100 held requests")
        gateway.client = other
        held, gateway.admission.script = gateway.admission.script, grant(x_arks_grant=OTHER)
        assert 200 == (await gateway.post(b'{"model":"other"}')).status_code
        gateway.admission.script = held
        ready.set()
        assert {200} == {(await request).status_code for request in requests}
    grants = [line["grant"] for line in await gateway.usage(101)]
    assert 101 == len(set(grants))
