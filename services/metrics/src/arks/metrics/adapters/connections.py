"""Connections that get one page again and again.

A general client costs three times what the page itself costs: it builds a request, its headers, a response, a stream
and a task for each. Here a connection has one request as bytes, and the parser of Node (llhttp) calls it with what
arrives.
"""

import asyncio
from collections import OrderedDict
from typing import cast

import httptools

from arks.kit.errors import Unavailable

Address = tuple[str, int]
IDLE_SECONDS = 30.0
"""An unused connection is closed after this time."""


class Broken(Exception):
    """The connection ended before the answer did.

    `unused`: before its first byte, as when an engine closes a connection that was idle.
    """

    def __init__(self, reason: str, *, unused: bool = False) -> None:
        super().__init__(reason)
        self.unused = unused


class Connection(asyncio.Protocol):
    """One connection, for one query at a time."""

    def __init__(self, request: bytes, limit_bytes: int) -> None:
        self._request = request
        self._limit_bytes = limit_bytes
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._size = 0
        self._began = False
        self._ends_with_connection = True
        self.idle_since = 0.0
        self.reusable = False

    async def get(self) -> tuple[int, bytes]:
        """Return status and body. Raises Broken, and Unavailable for a page that is too long."""
        if self._transport is None or self._transport.is_closing():
            raise Broken("it closed the connection without an answer", unused=True)
        self._parser = httptools.HttpResponseParser(self)
        self._chunks, self._size, self._began, self._ends_with_connection = [], 0, False, True
        self.reusable = False
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.close()  # more than was requested
            return
        self._began = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(Broken("it answers with another protocol"))
        except httptools.HttpParserError as error:
            self._fail(Broken(str(error) or type(error).__name__))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is None:
            return
        if not self._began:
            self._fail(Broken("it closed the connection without an answer", unused=True))
        elif exc is None and self._ends_with_connection and self._parser.get_status_code():
            self._finish()
        else:
            self._fail(Broken("the answer was cut off"))

    # --- httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower in {b"content-length", b"transfer-encoding"}:
            self._ends_with_connection = False
        if lower == b"content-length" and value.isdigit() and int(value) > self._limit_bytes:
            self._fail(Unavailable(f"its page has {int(value)} bytes, more than {self._limit_bytes}"))

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._limit_bytes:
            self._fail(Unavailable(f"its page has more than {self._limit_bytes} bytes"))
            return
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self.reusable = self._parser.should_keep_alive()
        self._finish()

    def _finish(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._chunks)))
        self._answer, self._chunks = None, []

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self._answer, self._chunks = None, []
        self.close()


class Connections:
    """At most one unused connection for each address, the last used ones of all."""

    def __init__(self, path: str, headers: str, *, limit_bytes: int, most_unused: int) -> None:
        """`headers`: lines of the request beside Host, each with its end."""
        self._path = path
        self._headers = headers
        self._limit_bytes = limit_bytes
        self._most_unused = most_unused
        self._unused: OrderedDict[Address, Connection] = OrderedDict()

    async def get(self, host: str, port: int) -> tuple[int, bytes]:
        """Return status and body. Raises Broken, Unavailable, OSError, ValueError."""
        connection = self._unused.pop((host, port), None)
        if connection is not None:
            try:
                return await self._use(connection, host, port)
            except Broken as error:
                if not error.unused:
                    raise
        return await self._use(await self._connect(host, port), host, port)

    def close(self) -> None:
        while self._unused:
            self._unused.popitem()[1].close()

    async def _connect(self, host: str, port: int) -> Connection:
        name = f"[{host}]" if ":" in host else host
        request = f"GET {self._path} HTTP/1.1\r\nHost: {name}:{port}\r\n{self._headers}\r\n".encode()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(request, self._limit_bytes), host, port)
        return connection

    async def _use(self, connection: Connection, host: str, port: int) -> tuple[int, bytes]:
        try:
            answer = await connection.get()
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._keep(connection, (host, port))
        else:
            connection.close()
        return answer

    def _keep(self, connection: Connection, address: Address) -> None:
        now = connection.idle_since = asyncio.get_running_loop().time()
        if (other := self._unused.pop(address, None)) is not None:
            other.close()
        self._unused[address] = connection
        while (
            len(self._unused) > self._most_unused or now - next(iter(self._unused.values())).idle_since > IDLE_SECONDS
        ):
            self._unused.popitem(last=False)[1].close()
