"""Compile and run the load generator and the engine of bench/native."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arks.kit.ports import free_port
from arks.kit.testing.servers import serve

NATIVE = Path(__file__).parents[1] / "native"


@dataclass(frozen=True)
class Native:
    """Paths of the compiled programs."""

    load: Path
    engine: Path


@dataclass(frozen=True)
class Percentiles:
    """Of a duration, in milliseconds."""

    p50: float
    p99: float
    most: float


@dataclass(frozen=True)
class Load:
    """What the load generator does; its source explains the loops."""

    request: bytes
    """Bytes of one HTTP/1.1 request; `######` in it becomes the number of a key."""
    connections: int
    keys: int = 1
    rate: float = 0.0
    """Requests per second of an open loop; 0: closed loop."""
    most: int | None = None
    """Requests after which it ends early."""
    gap_limit_ms: float = 0.0
    """Longer gaps between events are counted as late."""


@dataclass(frozen=True)
class Outcome:
    seconds: float
    statuses: dict[str, int]
    """HTTP status -> answers."""
    broken: int
    """Connections that ended during a request, and requests without an answer 5 s after the end."""
    unsent: int
    """Requests of an open loop that found no idle connection."""
    bytes: int
    """Of all bodies."""
    late_gaps: int
    latency: Percentiles
    first: Percentiles
    """Time to the first byte of a body."""
    gap: Percentiles

    @property
    def requests(self) -> int:
        return sum(self.statuses.values())

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    def failed(self, expected: frozenset[str]) -> int:
        """Requests without one of these statuses."""
        wrong = sum(number for status, number in self.statuses.items() if status not in expected)
        return wrong + self.broken + self.unsent


async def compile_native(directory: Path) -> Native:
    """Compile both programs into the directory. Exits with a message if there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("bench needs a C compiler (cc): its load generator and engine are C programs")
    native = Native(directory / "load", directory / "engine")
    for program in (native.load, native.engine):
        line = [compiler, "-O2", "-o", str(program), str(NATIVE / f"{program.name}.c")]
        process = await asyncio.create_subprocess_exec(*line)
        if await process.wait():
            raise SystemExit(f"{' '.join(line)} failed")
    return native


async def run_load(binary: Path, port: int, load: Load, seconds: float) -> Outcome:
    """Run the load generator against a port of loopback. Raises RuntimeError if it fails."""
    process = await asyncio.create_subprocess_exec(
        *(str(binary), "-k", str(load.keys), "-r", str(load.rate)),
        *(("-n", str(load.most)) if load.most else ()),
        *(("-g", str(int(load.gap_limit_ms * 1000))) if load.gap_limit_ms else ()),
        *(str(port), str(load.connections), str(seconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(load.request)
    if process.returncode:
        raise RuntimeError(f"the load generator ended with {process.returncode}")
    return parse(json.loads(output))


def parse(printed: dict[str, Any]) -> Outcome:
    """Return the load generator's output as an Outcome."""
    times: dict[str, Any] = {
        name: Percentiles(*(microseconds / 1e3 for microseconds in printed[f"{name}_us"]))
        for name in ("latency", "first", "gap")
    }
    counts = {name: printed[name] for name in ("seconds", "statuses", "broken", "unsent", "bytes", "late_gaps")}
    return Outcome(**counts, **times)


@asynccontextmanager
async def engine(binary: Path, directory: Path, *arguments: str) -> AsyncIterator[int]:
    """Run an engine with these arguments after its port. Yields the port."""
    directory.mkdir(parents=True)
    port = free_port()
    async with serve([str(binary), str(port), *arguments], port, directory):
        yield port
