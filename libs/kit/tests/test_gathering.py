"""A connection to NATS that is read at intervals, and the messages in what it brings."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlparse

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from nats.errors import ProtocolError

from arks.kit import gathering
from arks.kit.gathering import LONGEST_LINE_BYTES, GatheringTransport, Messages
from arks.kit.testing.wait import eventually


class Pauses:
    """Instead of time that passes: how often the transport waited, and what comes meanwhile."""

    def __init__(self) -> None:
        self.count = 0
        self.writer: asyncio.StreamWriter
        self.meanwhile = b""

    async def sleep(self, _: float) -> None:
        self.count += 1
        for byte in self.meanwhile:
            self.writer.write(bytes([byte]))
            await self.writer.drain()


Sides = tuple[GatheringTransport, Pauses]


@pytest_asyncio.fixture
async def sides(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sides]:
    """A connected transport, and its pauses with what writes to it."""
    connected: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda _, writer: connected.set_result(writer), "127.0.0.1", 0)
    transport, pauses = GatheringTransport(0.001, lambda subject, payload: None), Pauses()
    await transport.connect(urlparse(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"), 32_768, 1)
    pauses.writer = await connected
    monkeypatch.setattr(gathering, "sleep", pauses.sleep)
    yield transport, pauses
    transport.close()  # type: ignore[no-untyped-call]  # the library has no types here
    pauses.writer.close()
    server.close()
    await server.wait_closed()


async def test_what_comes_during_the_pause_is_read_together(sides: Sides) -> None:
    transport, pauses = sides
    pauses.meanwhile = b"PING\r\n"
    assert (b"PING\r\n", 1) == (await transport.read(100), pauses.count)


async def test_what_comes_after_the_pause_is_read_without_another(sides: Sides) -> None:
    transport, pauses = sides
    reading = asyncio.create_task(transport.read(100))
    await eventually(lambda: pauses.count)
    pauses.writer.write(b"+OK\r\n")
    assert (b"+OK\r\n", 1) == (await reading, pauses.count)


async def test_what_is_too_long_for_one_read_follows_without_a_pause(sides: Sides) -> None:
    transport, pauses = sides
    pauses.meanwhile = b"+OK\r\nPING\r\n"
    assert (b"+OK\r\n", b"PING\r\n", 1) == (await transport.read(5), await transport.read(6), pauses.count)


TEXT = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
PAYLOADS = st.binary(max_size=40) | st.sampled_from([b"\r\n", b"MSG a 1 3\r\nabc\r\n", b"PING\r\n"])


@st.composite
def operations(draw: st.DrawFn) -> list[tuple[bytes, tuple[str, bytes] | None]]:
    """What a server may send, each with the message that it is."""

    def message() -> tuple[bytes, tuple[str, bytes] | None]:
        subject, payload = draw(TEXT), draw(PAYLOADS)
        reply = draw(st.sampled_from(["", " inbox.1"]))
        return f"MSG {subject} 1{reply} {len(payload)}\r\n".encode() + payload + b"\r\n", (subject, payload)

    def message_with_headers() -> tuple[bytes, tuple[str, bytes] | None]:
        headers, payload = b"NATS/1.0\r\na: b\r\n\r\n", draw(PAYLOADS)
        head = f"HMSG a 1 {len(headers)} {len(headers) + len(payload)}\r\n"
        return head.encode() + headers + payload + b"\r\n", None

    def other() -> tuple[bytes, tuple[str, bytes] | None]:
        return draw(st.sampled_from([b"PING\r\n", b"+OK\r\n", b"-ERR 'x'\r\n", b'INFO {"a":1}\r\n'])), None

    kinds = st.lists(st.sampled_from([message, message_with_headers, other]), max_size=8)
    return [kind() for kind in draw(kinds)]


@given(operations(), st.lists(st.integers(1, 60)))
def test_messages_are_taken_out_and_everything_else_stays_however_it_is_cut(
    sent: list[tuple[bytes, tuple[str, bytes] | None]], cuts: list[int]
) -> None:
    found: list[tuple[str, bytes]] = []
    messages = Messages(lambda subject, payload: found.append((subject, payload)))
    data, others = b"".join(operation for operation, _ in sent), b""
    for length in (*cuts, len(data)):
        others += messages.feed(data[:length])
        data = data[length:]
    assert [message for _, message in sent if message is not None] == found
    assert b"".join(operation for operation, message in sent if message is None) == others


@pytest.mark.parametrize(
    "data",
    [
        b"MSG a 1 x\r\n",
        b"MSG a 1 -1\r\n",
        b"HMSG a 1 2 \r\n",
        b"MSG a 1 " + b"1" * 5_000 + b"\r\n",
        b"x" * (LONGEST_LINE_BYTES + 1),
    ],
)
def test_what_no_server_sends_ends_the_connection(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Messages(lambda subject, payload: None).feed(data)


async def test_half_a_message_of_the_connection_before_is_forgotten(sides: Sides) -> None:
    transport, pauses = sides
    pauses.meanwhile = b"MSG a 1 100\r\nabc"
    assert await transport.read(100) == b""
    again: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    async with await asyncio.start_server(lambda _, writer: again.set_result(writer), "127.0.0.1", 0) as server:
        transport.close()  # type: ignore[no-untyped-call]  # the library has no types here
        await transport.connect(urlparse(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"), 32_768, 1)
        pauses.writer.close()
        pauses.writer, pauses.meanwhile = await again, b"PING\r\n"
        assert await transport.read(100) == b"PING\r\n"
        transport.close()  # type: ignore[no-untyped-call]  # the library has no types here
        pauses.writer.close()
