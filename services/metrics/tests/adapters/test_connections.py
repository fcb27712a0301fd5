"""Answers of engines, as they arrive in pieces."""

import asyncio
from typing import Any

import pytest

from arks.kit.errors import Unavailable
from arks.metrics.adapters.connections import Broken, Connection

LIMIT = 100


class FakeTransport:
    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


def connected() -> tuple[Connection, Any]:
    connection, transport = Connection(b"GET /metrics HTTP/1.1\r\n\r\n", LIMIT), FakeTransport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    return connection, transport


async def query(connection: Connection) -> "asyncio.Task[tuple[int, bytes]]":
    task = asyncio.create_task(connection.get())
    await asyncio.sleep(0)
    return task


async def test_an_answer_in_chunks_is_one_page_and_the_connection_is_used_again() -> None:
    connection, transport = connected()
    for _ in range(2):
        found = await query(connection)
        for byte in b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":
            connection.data_received(bytes([byte]))
        assert ((200, b"abcde"), True, False) == (await found, connection.reusable, transport.closed)
    assert 2 == transport.written.count(b"GET /metrics")


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    connection, _ = connected()
    found = await query(connection)
    connection.data_received(b"HTTP/1.0 200 OK\r\n\r\nabc")
    connection.connection_lost(None)
    assert ((200, b"abc"), False) == (await found, connection.reusable)


@pytest.mark.parametrize(
    ("received", "unused"), [(b"", True), (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", False)]
)
async def test_an_answer_that_is_cut_off_is_no_page(received: bytes, unused: bool) -> None:
    connection, _ = connected()
    found = await query(connection)
    if received:
        connection.data_received(received)
    connection.connection_lost(None)
    with pytest.raises(Broken) as caught:
        await found
    assert unused == caught.value.unused


@pytest.mark.parametrize(
    "received",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n65\r\n" + 101 * b"x",
    ],
    ids=["announced", "endless"],
)
async def test_a_page_over_the_limit_is_not_read(received: bytes) -> None:
    connection, transport = connected()
    found = await query(connection)
    connection.data_received(received)
    with pytest.raises(Unavailable, match="more than"):
        await found
    assert transport.closed


async def test_what_is_no_http_is_no_page() -> None:
    connection, transport = connected()
    found = await query(connection)
    connection.data_received(b"SSH-2.0-OpenSSH\r\n")
    with pytest.raises(Broken):
        await found
    assert transport.closed


async def test_an_answer_without_a_query_closes_the_connection() -> None:
    connection, transport = connected()
    connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert transport.closed
