"""Health checks: whether a program's port accepts connections, and the answer of its health page."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from arks.local.plan.addresses import HOST
from arks.local.plan.programs import Probe

PROBE_SECONDS = 2.0
_BLOCK_BYTES = 4096
_MAX_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a program is not ready."""

    text: str
    """One line."""
    silent: bool = False
    """It gave no answer, so it may hang."""


async def find_problem(probe: Probe) -> Problem | None:
    """Run one health check; None if the program is ready."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            if probe.path is None:
                await _connects(probe.address)
                return None
            status, body = await request("GET", probe.address, probe.path)
    except TimeoutError:
        return Problem(f"no answer within {PROBE_SECONDS:g} s", silent=True)
    except (ConnectionRefusedError, FileNotFoundError):
        return Problem(f"does not listen on {_name(probe.address)}", silent=True)
    except (OSError, ValueError, EOFError) as error:
        return Problem(str(error) or type(error).__name__, silent=True)
    if status == 200:
        return None
    return Problem("; ".join(body.split("\n")[:3]).strip("; ") or f"answers {status}")


async def _connects(address: int | Path) -> None:
    _, writer = await _open(address)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def request(method: str, address: int | Path, path: str) -> tuple[int, str]:
    """Send one HTTP request to a port on loopback or a Unix socket; return status and body.

    The caller sets the timeout. Raises OSError, ValueError or EOFError.
    """
    reader, writer = await _open(address)
    try:
        lines = (f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Connection: close", "Content-Length: 0", "", "")
        writer.write("\r\n".join(lines).encode())
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        remainder = await _read_all(reader)
    finally:
        writer.close()
    return status, remainder.partition(b"\r\n\r\n")[2].decode(errors="replace")


async def _open(address: int | Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, Path):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection(HOST, address)


def _name(address: int | Path) -> str:
    return str(address) if isinstance(address, Path) else f"port {address}"


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    read = b""
    while len(read) < _BLOCK_BYTES * _MAX_BLOCKS and (chunk := await reader.read(_BLOCK_BYTES)):
        read += chunk
    return read
