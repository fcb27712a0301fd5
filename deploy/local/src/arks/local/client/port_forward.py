"""Forward connections to a port of this machine to a pod, through the API server, as `kubectl port-forward` does.

One WebSocket a connection. Its messages begin with a byte: 0 for data, 1 for an error of the other end; the first
message of each has the port. The protocol: k8s.io/kubelet/pkg/cri/streaming/portforward (v4.channel.k8s.io).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

from arks.kit.errors import ArksError
from arks.kit.tasks import cancel

Open = Callable[[], Awaitable[aiohttp.ClientWebSocketResponse]]
"""Opens a WebSocket to the pod's port."""

PROTOCOL = "v4.channel.k8s.io"
_HOST = "127.0.0.1"
_DATA, _ERROR = 0, 1
_CHUNK_BYTES = 2**16
_CLOSE_SECONDS = 1.0
_POLL_SECONDS = 0.002


class Forwarder:
    """Listens on a free port of loopback while its context is open."""

    def __init__(self, open_stream: Open) -> None:
        self._open = open_stream
        self._connections: set[asyncio.Task[None]] = set()
        self.problem: str = ""
        """Why the last connection failed; empty if none has."""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Yield the port."""
        server = await asyncio.start_server(self._accept, _HOST, 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for connection in list(self._connections):
                await cancel(connection)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._connect(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except ArksError as error:
            self.problem = str(error)
        except (OSError, aiohttp.ClientError) as error:
            self.problem = str(error) or type(error).__name__
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = await self._open()
        try:
            directions = [
                asyncio.ensure_future(_send(reader, stream)),
                asyncio.ensure_future(self._take(stream, writer)),
            ]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    await cancel(direction)
        finally:
            await close_stream(stream)

    async def _take(self, stream: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
        begun: set[int] = set()
        async for message in stream:
            if message.type != aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, payload = message.data[0], message.data[1:]
            if channel not in begun:
                begun.add(channel)
            elif channel == _ERROR and payload:
                self.problem = payload.decode(errors="replace").strip()
                return
            elif channel == _DATA:
                writer.write(payload)
                await writer.drain()


async def close_stream(stream: aiohttp.ClientWebSocketResponse) -> None:
    """Close it, and wait until its connection has ended too: aiohttp does not, and the event loop may end before TLS
    has."""
    socket = stream.get_extra_info("socket")
    await stream.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            while socket is not None and socket.fileno() != -1:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(_POLL_SECONDS)


async def _send(reader: asyncio.StreamReader, stream: aiohttp.ClientWebSocketResponse) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        with contextlib.suppress(ConnectionResetError):
            await stream.send_bytes(bytes([_DATA]) + data)
