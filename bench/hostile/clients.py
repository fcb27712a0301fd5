"""Clients that mean no good, in a process of their own: the load of honest ones must not pay for their work.

usage: python -m bench.hostile.clients PORT SECONDS IDLE [KIND,KIND]

Prints a line of JSON: how often each kind of client has done its worst.
"""

import asyncio
import contextlib
import itertools
import json
import random
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection

from bench.gateway.scenarios import APART, CLUSTER_HEADER, FAR, JSON, request_bytes

HEAD_SECONDS = 5.0
"""Longest wait for anything of the gateway."""
HUGE_BYTES = 31 * 2**20
KEY = f"{FAR}000001"
"""Of the clients with a key. Honest ones use number 0."""
_RESET = struct.pack("ii", 1, 0)
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(port: int) -> Connection:
    async with asyncio.timeout(HEAD_SECONDS):
        return await asyncio.open_connection("127.0.0.1", port)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a client does that is killed."""
    found = writer.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def slow_sender(port: int) -> None:
    """A byte of a head every 100 ms."""
    _, writer = await connect(port)
    try:
        for byte in request_bytes(JSON, FAR)[:50]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)
    finally:
        reset(writer)


async def huge_body(port: int) -> None:
    """31 MiB of keys at the top level, with a valid API key: the gateway answers before the end of the body."""
    part = b"".join(b'"%06x":1,' % number for number in range(100_000))
    await _long_body(port, b"{", part, b"")


async def long_prompt(port: int) -> None:
    """31 MiB of short messages, valid to the last byte, with a valid API key: the most that the reader has to do."""
    start = b'{"model":"%s","max_tokens":1,"messages":[' % JSON.model.encode()
    message = b'{"role":"user","content":"a"}'
    await _long_body(port, start, (message + b",") * 10_000, message + b"]}")


async def _long_body(port: int, start: bytes, part: bytes, end: bytes) -> None:
    """Send `start`, as many parts as fit into 31 MiB, and `end`; without an end the last part is cut."""
    parts, rest = divmod(HUGE_BYTES - len(start) - len(end), len(part))
    last = end or part[:rest]
    reader, writer = await connect(port)
    try:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n"
        head += f"{CLUSTER_HEADER}: default/{JSON.model}\r\n"  # for the control, a plain Envoy
        length = len(start) + parts * len(part) + len(last)
        writer.write(f"{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n".encode())
        for piece in (start, *itertools.repeat(part, parts), last):
            writer.write(piece)
            async with asyncio.timeout(HEAD_SECONDS):
                await writer.drain()
        async with asyncio.timeout(HEAD_SECONDS):
            await reader.read(64)
    finally:
        reset(writer)


async def wrong_key(port: int) -> None:
    """A new key that does not exist, each time."""
    reader, writer = await connect(port)
    try:
        writer.write(request_bytes(JSON, FAR).replace(b"######", b"x%08x" % random.getrandbits(32)))
        async with asyncio.timeout(HEAD_SECONDS):
            await reader.read(64)
    finally:
        writer.close()


async def hang_up(port: int) -> None:
    """A valid request that its client leaves after a random time, also during admission."""
    engine = random.choice((JSON, APART))  # noqa: S311  no secret
    reader, writer = await connect(port)
    try:
        writer.write(request_bytes(engine, FAR).replace(b"######", b"000001"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(0, 0.02)):  # noqa: S311  no secret
                await reader.read(1 << 16)
    finally:
        reset(writer)


async def rapid_reset(port: int) -> None:
    """Connections with half a head that end at once."""
    _, writer = await connect(port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost:")
    reset(writer)


KINDS: dict[str, tuple[Callable[[int], Awaitable[None]], int, float]] = {
    "slow senders": (slow_sender, 50, 0.0),
    "huge bodies": (huge_body, 1, 0.5),
    "long prompts": (long_prompt, 1, 0.5),
    "wrong keys": (wrong_key, 4, 0.02),
    "hang-ups": (hang_up, 4, 0.02),
    "rapid resets": (rapid_reset, 4, 0.02),
}
"""What one does, how many do it, and seconds from one time to the next."""


async def repeat(name: str, port: int, until: float, counts: Counter[str]) -> None:
    act, _, pause = KINDS[name]
    while time.monotonic() < until:
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + max(0.0, until - time.monotonic())):
                await act(port)
            counts[name] += 1
        except (OSError, TimeoutError):
            counts[f"{name}, cut off"] += 1
        await asyncio.sleep(pause)


async def idle(port: int, number: int, counts: Counter[str]) -> list[Connection]:
    """Connections that never send a byte."""
    found: list[Connection] = []
    for _ in range(number):
        try:
            found.append(await connect(port))
        except (OSError, TimeoutError):
            break
    counts["idle connections"] = len(found)
    return found


async def main(port: int, seconds: float, idle_connections: int, kinds: Collection[str]) -> None:
    counts: Counter[str] = Counter()
    until = time.monotonic() + seconds
    held = await idle(port, idle_connections, counts)
    async with asyncio.TaskGroup() as group:
        for name in kinds:
            for _ in range(KINDS[name][1]):
                group.create_task(repeat(name, port, until, counts))
    for _, writer in held:
        writer.transport.abort()
    print(json.dumps(counts))


if __name__ == "__main__":
    chosen = sys.argv[4].split(",") if len(sys.argv) > 4 else KINDS
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), chosen))
