"""Requests of HTTP/1.1 as fake engines read them: with little work, because what is measured is the cost of Arks."""

import asyncio
from typing import cast


class Requests(asyncio.Protocol):
    """One connection, with one request after the other. Request bodies need a content-length."""

    transport: asyncio.Transport
    _received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
            if len(self._received) < end + 4 + length:
                return
            body, self._received = self._received[end + 4 :][:length], self._received[end + 4 + length :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        """Answer one request. `head`: request line and headers, in lower case."""
        raise NotImplementedError
