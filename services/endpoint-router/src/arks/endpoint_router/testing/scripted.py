"""HTTP servers whose answers a test scripts byte by byte."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from arks.kit.ports import free_port

JSON_ANSWER = (
    b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}],'
    b'"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}'
)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class ScriptedServer:
    """An HTTP/1.1 server that answers each request by `script`, and records the requests."""

    script: Script
    port: int = field(default_factory=free_port)
    requests: list[Request] = field(default_factory=list)
    _connections: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Stop as a killed process does: connections break at once."""
        if self._server is None:
            return
        self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections)
        await self._server.wait_closed()
        self._server = None

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                request = await _read_request(reader)
                self.requests.append(request)
                await self.script(request, writer)
                await writer.drain()
        self._connections.discard(connection)
        writer.transport.abort()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("transfer-encoding") == "chunked":
        return Request(method, path, headers, await _read_chunks(reader))
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


def head(status: int = 200, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(body: bytes = JSON_ANSWER, status: int = 200, **headers: str) -> Script:
    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        fields = {"content_type": "application/json", "content_length": str(len(body)), **headers}
        writer.write(head(status, **fields) + body)

    return script


async def send_events(writer: asyncio.StreamWriter, pieces: Sequence[bytes], pause_seconds: float = 0.001) -> None:
    """Begin a chunked event stream. The pause, as between two tokens, makes Envoy receive each piece separately."""
    writer.write(head(content_type="text/event-stream", transfer_encoding="chunked"))
    for piece in pieces:
        writer.write(chunk(piece))
        await writer.drain()
        await asyncio.sleep(pause_seconds)


def chunk(piece: bytes) -> bytes:
    """Return a piece in chunked encoding; the empty piece ends the body."""
    return b"%x\r\n%s\r\n" % (len(piece), piece)


def stream(pieces: Sequence[bytes], *, pause_seconds: float = 0.001, end: bool = True) -> Script:
    """Return a script for an event stream. Without `end` the connection breaks after the last piece."""

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        await send_events(writer, pieces, pause_seconds)
        if not end:
            writer.transport.abort()
        writer.write(chunk(b""))

    return script


async def silence(*_: object) -> None:
    """A script that never answers."""
    await asyncio.Event().wait()
