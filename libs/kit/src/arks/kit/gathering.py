"""Receive many small messages of NATS: read them together, and outside the client's own parser.

The client takes 60 us for a message (its parser, an object with a dozen fields, a queue, a task), and is woken for each
that comes alone. With a thousand load reports a second that is more than what they are for. Here a message takes 4 us.
Connecting, logging in, subscribing again after a reconnect, and everything else that a server sends stay the client's.
"""

import re
from asyncio import StreamWriter, Transport, sleep
from collections.abc import Callable
from typing import Any, cast

from nats.aio.transport import TcpTransport
from nats.errors import ProtocolError

LONGEST_LINE_BYTES = 64 * 1024
"""Of what a server sends, without a message's payload: INFO has a list of servers and keys."""
MOST_DIGITS = 10
"""Of a payload's size."""
_END = b"\r\n"
_MESSAGE = re.compile(rb"MSG ([^ \r\n]+) (?:[^ \r\n]+ ){1,2}([0-9]{1,%d})\r\n" % MOST_DIGITS)
"""`MSG <subject> <sid> [reply-to] <bytes>`"""

Take = Callable[[str, bytes], None]
"""Called with subject and payload. It must not raise."""


class Messages:
    """Takes messages without headers out of what a server sends (https://docs.nats.io, client protocol)."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Handle the messages that are complete. Return everything else that is. Raises ProtocolError."""
        received = self._rest + data
        others: list[bytes] = []
        at = 0
        while at < len(received):
            message = _MESSAGE.match(received, at)
            if message is not None:
                next_ = message.end() + int(message[2]) + len(_END)
            elif (end := received.find(_END, at)) >= 0:
                next_ = end + len(_END) + _payload_bytes(received[at:end])
            elif len(received) - at > LONGEST_LINE_BYTES:
                raise ProtocolError
            else:
                break
            if next_ > len(received):
                break
            if message is not None:
                self._take(message[1].decode(errors="replace"), received[message.end() : next_ - len(_END)])
            else:
                others.append(received[at:next_])
            at = next_
        self._rest = received[at:]
        return b"".join(others)


def _payload_bytes(line: bytes) -> int:
    """Return the bytes that follow the line of a message with headers; 0 for other lines. Raises ProtocolError."""
    if line.startswith(b"MSG "):
        raise ProtocolError
    if not line.startswith(b"HMSG "):
        return 0
    number = line.rsplit(b" ", 1)[1]
    if not number.isdigit() or len(number) > MOST_DIGITS:
        raise ProtocolError
    return int(number) + len(_END)


class GatheringTransport(TcpTransport):
    """Reads at most once in some seconds, and then everything that has come. A message after a pause waits for none."""

    def __init__(self, seconds: float, take: Take) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library has no types here
        self._seconds = seconds
        self._take = take
        self._messages = Messages(take)
        self._more = False
        """The last read left something behind."""

    async def connect(self, *arguments: Any, **options: Any) -> None:
        self._messages = Messages(self._take)
        await super().connect(*arguments, **options)

    async def read(self, buffer_size: int) -> bytes:
        """Return what the client has to handle."""
        if not self._more:
            await self._pause()
        data: bytes = await super().read(buffer_size)
        self._more = len(data) >= buffer_size
        return self._messages.feed(data)

    async def _pause(self) -> None:
        """Let what comes stay in the socket, so that nothing wakes the loop for each message."""
        transport = cast("Transport", cast("StreamWriter", self._io_writer).transport)
        reads = transport.is_reading()
        if reads:
            transport.pause_reading()
        await sleep(self._seconds)
        if reads and not transport.is_closing():
            transport.resume_reading()

    def __bool__(self) -> bool:
        """Keep the client from making one of its own before it connects."""
        return True
