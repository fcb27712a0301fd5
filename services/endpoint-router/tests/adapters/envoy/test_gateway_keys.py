"""The key before a long body, through a real Envoy."""

import asyncio
import json
import re
from typing import Any

import pytest

from arks.endpoint_router.testing.gateway import Gateway, grant
from arks.endpoint_router.testing.scripted import answer
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real

REJECTION = b'{"error":{"message":"no","type":"t","param":null,"code":"c"}}'
LIMIT = 64 * 1024
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n"


def body_of(size: int) -> bytes:
    start = b'{"model":"m","x":"'
    return start + b"x" * (size - len(start) - 2) + b'"}'


async def answered(gateway: Gateway, head: bytes) -> tuple[int, dict[str, Any]]:
    """Send a head whose body never comes; return (status, error)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.envoy.port)
    writer.write(head + b"\r\n")
    received = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    length = re.search(rb"content-length: (\d+)", received)
    assert length is not None
    error = json.loads(await reader.readexactly(int(length[1])))["error"]
    writer.close()
    await writer.wait_closed()
    return int(received.split(b" ")[1]), error


@pytest.mark.parametrize("header", [b"content-length: 65537\r\n", b"transfer-encoding: chunked\r\n"])
async def test_an_invalid_key_is_rejected_before_a_long_body(gateway: Gateway, header: bytes) -> None:
    gateway.admission.script = answer(REJECTION, 401, x_arks_refusal="1000,key", www_authenticate="Bearer")
    assert [(401, "c")] * 2 == [
        (status, error["code"]) for status, error in [await answered(gateway, HEAD + header) for _ in range(2)]
    ]
    (query,) = gateway.admission.requests
    assert ("POST", "/v1/key", "Bearer k", b"") == (
        query.method,
        query.path,
        query.headers["authorization"],
        query.body,
    )
    assert not [name for name in query.headers if name.startswith("x-arks")]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages":[]}', b'{"model":"m","n":true}', b'{"model":""}'])
async def test_a_body_with_a_fault_gets_the_same_answer_to_an_invalid_key_as_any_body(
    gateway: Gateway, body: bytes
) -> None:
    gateway.admission.script = answer(REJECTION, 401, x_arks_refusal="0,key", www_authenticate="Bearer")
    first, second = await gateway.post(body), await gateway.post(body_of(100))
    assert (401, REJECTION) == (first.status_code, first.content)
    assert {"Bearer"} == {response.headers["www-authenticate"] for response in (first, second)}
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert ["/v1/key", "/v1/admit"] == [
        query.path for query in gateway.admission.requests if "changes" not in query.path
    ]


async def test_a_body_with_a_fault_queries_a_valid_key_once_a_second(gateway: Gateway) -> None:
    responses = [await gateway.post(b"{") for _ in range(3)]
    assert [(400, "invalid_json")] * 3 == [
        (response.status_code, response.json()["error"]["code"]) for response in responses
    ]
    assert (1, 0) == (len(gateway.queries("/v1/key")), len(gateway.queries()))


async def test_an_invalid_key_is_rejected_from_memory_whatever_its_body_is(gateway: Gateway) -> None:
    gateway.admission.script = answer(REJECTION, 401, x_arks_refusal="1000,key")
    assert [401] * 5 == [(await gateway.post(body)).status_code for body in (b"{", b"{", b"", body_of(100), b"[]")]
    assert ["/v1/key"] == [query.path for query in gateway.admission.requests]


async def test_without_token_quota_an_unknown_key_gets_no_answer_about_a_body(gateway: Gateway) -> None:
    await gateway.admission.stop()
    assert 503 == (await gateway.post(b"{")).status_code


async def test_no_key_is_rejected_before_a_long_body(gateway: Gateway) -> None:
    head = HEAD.replace(b"authorization", b"x-api-key") + b"content-length: 1000000\r\n"
    assert 401 == (await answered(gateway, head))[0]
    assert [] == gateway.admission.requests


@pytest.mark.parametrize(("size", "queries"), [(LIMIT, 0), (LIMIT + 1, 1)])
async def test_a_valid_key_is_queried_once_a_second_for_long_bodies(gateway: Gateway, size: int, queries: int) -> None:
    assert [200] * 3 == [(await gateway.post(body_of(size))).status_code for _ in range(3)]
    assert (queries, 3) == (len(gateway.queries("/v1/key")), len(gateway.queries()))
    assert [body_of(size)] * 3 == [request.body for request in gateway.engine.requests]


async def test_without_token_quota_an_unknown_key_sends_no_long_body(gateway: Gateway) -> None:
    await gateway.admission.stop()
    status, error = await answered(gateway, HEAD + b"content-length: 1000000\r\n")
    assert (503, "admission_unavailable") == (status, error["code"])


async def test_without_token_quota_the_policy_decides_on_a_key_that_was_valid(gateway: Gateway) -> None:
    gateway.admission.script = grant(x_arks_outage="pass")
    assert 200 == (await gateway.post(body_of(100_000))).status_code
    gateway.admission.script = answer(b"away", 503, content_type="text/plain")

    async def queried_again() -> bool:
        assert 200 == (await gateway.post(body_of(100_000))).status_code
        return len(gateway.queries("/v1/key")) >= 2

    await eventually(queried_again, what="the key's validity has ended")
