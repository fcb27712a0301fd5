"""Connections through a WebSocket, whose other end is a server of this test."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from arks.kit.errors import Unavailable
from arks.kit.testing.wait import eventually
from arks.kit.testing.web import serving
from arks.local.client.port_forward import PROTOCOL, Forwarder

Talk = Callable[[web.WebSocketResponse], Coroutine[Any, Any, None]]


async def forwarded(talk: Talk, sent: bytes) -> tuple[bytes, str]:
    """What a client of the local port gets for what it sends, and the problem."""

    async def accept(request: web.Request) -> web.WebSocketResponse:
        stream = web.WebSocketResponse(protocols=(PROTOCOL,))
        await stream.prepare(request)
        for channel in (0, 1):
            await stream.send_bytes(bytes([channel, 80, 0]))
        await talk(stream)
        await stream.close()
        return stream

    application = web.Application()
    application.router.add_get("/", accept)
    async with serving(application) as port, aiohttp.ClientSession() as client:
        forwarder = Forwarder(lambda: client.ws_connect(f"http://127.0.0.1:{port}/", protocols=(PROTOCOL,)))
        async with forwarder.listening() as local, asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", local)
            writer.write(sent)
            received = await reader.read()
            writer.close()
        return received, forwarder.problem


async def test_data_goes_both_ways_without_the_bytes_of_the_protocol() -> None:
    async def echo(stream: web.WebSocketResponse) -> None:
        message = await stream.receive()
        assert message.type is WSMsgType.BINARY
        await stream.send_bytes(b"\x00" + message.data[1:].upper())

    assert (b"HELLO", "") == await forwarded(echo, b"hello")


async def test_an_error_of_the_other_end_ends_the_connection_and_is_kept() -> None:
    async def refuse(stream: web.WebSocketResponse) -> None:
        await stream.send_bytes(b"\x01nobody listens on 4222")

    assert (b"", "nobody listens on 4222") == await forwarded(refuse, b"hello")


async def test_a_refusal_of_the_api_server_is_kept() -> None:
    async def refuse() -> aiohttp.ClientWebSocketResponse:
        raise Unavailable("pods is forbidden")

    forwarder = Forwarder(refuse)
    async with forwarder.listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert b"" == await reader.read()
        writer.close()
        await eventually(lambda: forwarder.problem == "pods is forbidden")


async def test_no_connection_outlives_the_listener() -> None:
    opened, closed = asyncio.Event(), asyncio.Event()

    async def wait(stream: web.WebSocketResponse) -> None:
        await stream.receive()
        opened.set()
        await stream.receive()
        closed.set()

    async def accept(request: web.Request) -> web.WebSocketResponse:
        stream = web.WebSocketResponse()
        await stream.prepare(request)
        await wait(stream)
        return stream

    application = web.Application()
    application.router.add_get("/", accept)
    async with serving(application) as port, aiohttp.ClientSession() as client:
        async with Forwarder(lambda: client.ws_connect(f"http://127.0.0.1:{port}/")).listening() as local:
            _, writer = await asyncio.open_connection("127.0.0.1", local)
            writer.write(b"x")
            async with asyncio.timeout(30):
                await opened.wait()
        async with asyncio.timeout(30):
            await closed.wait()
        writer.close()


@pytest.mark.parametrize("size", [0, 1, 300_000])
async def test_any_amount_arrives_whole(size: int) -> None:
    async def send(stream: web.WebSocketResponse) -> None:
        await stream.receive()
        for start in range(0, size, 50_000):
            await stream.send_bytes(b"\x00" + b"x" * min(50_000, size - start))

    received, problem = await forwarded(send, b"?")
    assert (size, "") == (len(received), problem)
