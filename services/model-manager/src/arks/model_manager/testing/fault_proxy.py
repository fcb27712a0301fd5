"""A TCP proxy before a source's server: breaks connections, slows them down, and answers in the server's place."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_BLOCK_BYTES = 32 << 10
_HEAD_BYTES = 64 << 10


@dataclass
class FaultProxy:
    target_port: int
    port: int = 0
    sent_bytes: int = 0
    """To clients."""
    statuses: list[int] = field(default_factory=list)
    """Answers to the next connections, in place of the server's."""
    cuts: list[int] = field(default_factory=list)
    """The next connections break off after so many bytes."""
    pause_seconds: float = 0.0
    """Before each block."""
    hold_at: int | None = None
    """Nothing is sent beyond so many bytes in all."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once there is more to send than `hold_at`."""
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._answer(reader, writer)
        except asyncio.CancelledError:
            pass  # the end of the proxy
        finally:
            self._connections.discard(task)
            writer.close()

    async def end(self) -> None:
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self.statuses:
                await reader.readuntil(b"\r\n\r\n")
                head = f"HTTP/1.1 {self.statuses.pop(0)} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                await writer.drain()
            else:
                await self._forward(reader, writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        requests = asyncio.create_task(_copy(reader, server_writer))
        remaining = self.cuts.pop(0) if self.cuts else None
        try:
            while block := await server_reader.read(_BLOCK_BYTES):
                await asyncio.sleep(self.pause_seconds)
                sent = block if remaining is None else block[:remaining]
                while self.hold_at is not None and self.sent_bytes + len(sent) > self.hold_at:
                    self.held.set()
                    await asyncio.sleep(0.01)
                self.sent_bytes += len(sent)
                writer.write(sent)
                await writer.drain()
                if remaining is not None:
                    remaining -= len(sent)
                    if not remaining:
                        return
        finally:
            requests.cancel()
            await asyncio.wait([requests])
            server_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(_HEAD_BYTES):
            writer.write(block)
            await writer.drain()


@asynccontextmanager
async def fault_proxy(target_port: int) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(target_port)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
