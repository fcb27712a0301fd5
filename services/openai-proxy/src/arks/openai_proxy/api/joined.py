"""Writes what is ready of a stream at once: under load this saves a fifth of the proxy's CPU for each event."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from arks.kit.tasks import cancel

MOST_PIECES = 64
"""Read ahead of a client that is slow. After these the engine has to wait, by gRPC's flow control."""


async def joined(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """All pieces that are ready, as one each time. Raises what `pieces` raises; closing it closes `pieces`."""
    ready: list[bytes] = []
    changed, room = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    ready.append(piece)
                    changed.set()
                    if len(ready) >= MOST_PIECES:
                        room.clear()
                        await room.wait()
        finally:
            changed.set()

    reading = asyncio.ensure_future(read())
    try:
        while ready or not reading.done():
            await changed.wait()
            changed.clear()
            if ready:
                whole = b"".join(ready)
                ready.clear()
                room.set()
                yield whole
        reading.result()
    finally:
        await cancel(reading)
