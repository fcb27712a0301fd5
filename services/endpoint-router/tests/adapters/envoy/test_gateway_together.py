"""A worker that finds several requests at once reads all before it admits the first: clients see no difference."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Sequence
from typing import Any

import pytest

from arks.endpoint_router.testing.gateway import Gateway, grant
from arks.endpoint_router.testing.scripted import Request, head

pytestmark = pytest.mark.real

CHAT = "/v1/chat/completions"
REQUESTS = 24
LEASE = "100,100000000,100000000,60000,512"
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def raw(content: bytes) -> bytes:
    fields = f"host: x\r\nauthorization: Bearer sk-secret\r\ncontent-length: {len(content)}\r\n\r\n"
    return f"POST {CHAT} HTTP/1.1\r\n{fields}".encode() + content


def body(number: int, **fields: object) -> bytes:
    """Return a body that is short, or longer than one that the filter joins, and has its number in it."""
    text = "a" * (40_000 * (number % 2))
    return json.dumps({"model": "m", "user": str(number), **fields, "messages": [{"content": text}]}).encode()


async def echo(request: Request, writer: asyncio.StreamWriter) -> None:
    """Answer with the number of the request."""
    page = json.dumps({"id": json.loads(request.body)["user"], "choices": [], "usage": USAGE}).encode()
    writer.write(head(content_type="application/json", content_length=str(len(page))) + page)


async def send_together(gateway: Gateway, requests: Sequence[bytes], *, half_close: bool = False) -> list[Connection]:
    """Send each request on a connection of its own while Envoy does not run, so that it finds all of them at once.

    `half_close`: every second client closes its connection at once.
    """
    connections = [await asyncio.open_connection("127.0.0.1", gateway.envoy.port) for _ in requests]
    os.kill(gateway.envoy.process.pid, signal.SIGSTOP)
    try:
        for number, (_, writer) in enumerate(connections):
            writer.write(requests[number])
            await writer.drain()
            if half_close and number % 2:
                writer.close()
    finally:
        os.kill(gateway.envoy.process.pid, signal.SIGCONT)
    return connections


async def answer_of(connection: Connection) -> tuple[int, dict[str, Any]]:
    reader, writer = connection
    fields = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", fields)
    page = await reader.readexactly(int(length[1]) if length else 0)
    writer.close()
    await writer.wait_closed()
    return int(fields.split(b" ")[1]), json.loads(page)


@pytest.mark.parametrize("lease", ["0,0,0,1000,512", LEASE], ids=["each-queries", "one-lease"])
async def test_requests_that_come_together_get_their_own_answers(gateway: Gateway, lease: str) -> None:
    gateway.admission.script, gateway.engine.script = grant(x_arks_lease=lease), echo
    assert 200 == (await gateway.post(body(REQUESTS))).status_code
    bodies = [body(number) for number in range(REQUESTS)]
    answers = [await answer_of(each) for each in await send_together(gateway, [raw(content) for content in bodies])]
    assert [(200, str(number)) for number in range(REQUESTS)] == [(status, page["id"]) for status, page in answers]
    assert sorted(bodies) == sorted(request.body for request in gateway.engine.requests[1:])
    assert ["e,12,3"] * (1 + REQUESTS) == [line["usage"] for line in await gateway.usage(1 + REQUESTS)]
    started = [line[1] for line in gateway.starts() if line[0] == "S"]
    assert 1 + REQUESTS == len(set(started))


async def test_streams_that_come_together_request_usage(gateway: Gateway) -> None:
    gateway.admission.script, gateway.engine.script = grant(x_arks_lease=LEASE), echo
    requests = [raw(body(number, stream=True)) for number in range(REQUESTS)]
    for connection in await send_together(gateway, requests):
        assert 200 == (await answer_of(connection))[0]
    found = [json.loads(request.body)["stream_options"] for request in gateway.engine.requests]
    assert [{"include_usage": True}] * REQUESTS == found


async def test_requests_with_a_fault_among_others_are_rejected_alone(gateway: Gateway) -> None:
    gateway.engine.script = echo
    requests = [raw(b"{" if number % 3 else body(number)) for number in range(REQUESTS)]
    answers = [await answer_of(each) for each in await send_together(gateway, requests)]
    assert [400 if number % 3 else 200 for number in range(REQUESTS)] == [status for status, _ in answers]


async def test_a_client_that_hangs_up_at_once_harms_no_other(gateway: Gateway) -> None:
    """Its end is found with its request, so it is gone before it is admitted."""
    gateway.admission.script, gateway.engine.script = grant(x_arks_lease=LEASE), echo
    connections = await send_together(gateway, [raw(body(number)) for number in range(REQUESTS)], half_close=True)
    answers = [await answer_of(each) for each in connections[::2]]
    assert [(200, str(number)) for number in range(0, REQUESTS, 2)] == [
        (status, page["id"]) for status, page in answers
    ]
