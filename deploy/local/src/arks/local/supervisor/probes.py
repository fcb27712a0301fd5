"""Asking a process whether it works: does its port answer, and what does its health page say."""

import asyncio
import contextlib
from dataclasses import dataclass

from arks.local.plan.ports import HOST
from arks.local.plan.programs import Probe

PROBE_SECONDS = 2.0
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a program is not ready, in one line."""

    text: str
    silent: bool = False
    """It gave no answer at all: it may hang."""


async def problem(probe: Probe) -> Problem | None:
    """None when it is ready."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            if probe.path is None:
                await _connects(probe.port)
                return None
            status, body = await request("GET", probe.port, probe.path)
    except TimeoutError:
        return Problem(f"no answer within {PROBE_SECONDS:g} s", silent=True)
    except ConnectionRefusedError:
        return Problem(f"does not listen on port {probe.port}", silent=True)
    except (OSError, ValueError, EOFError) as error:
        return Problem(str(error) or type(error).__name__, silent=True)
    if status == 200:
        return None
    return Problem("; ".join(body.split("\n")[:3]).strip("; ") or f"answers {status}")


async def _connects(port: int) -> None:
    _, writer = await asyncio.open_connection(HOST, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def request(method: str, port: int, path: str) -> tuple[int, str]:
    """One small HTTP exchange on loopback. Raises OSError, ValueError or EOFError; the caller sets the time limit."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        lines = (f"{method} {path} HTTP/1.1", f"Host: {HOST}:{port}", "Connection: close", "Content-Length: 0", "", "")
        writer.write("\r\n".join(lines).encode())
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        rest = await _read_all(reader)
    finally:
        writer.close()
    return status, rest.partition(b"\r\n\r\n")[2].decode(errors="replace")


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    read = b""
    while len(read) < _MOST_BYTES * 16 and (chunk := await reader.read(_MOST_BYTES)):
        read += chunk
    return read
