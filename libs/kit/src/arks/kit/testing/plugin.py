"""pytest fixtures around the real servers. A server lives for one test module: starting one takes a few 100 ms."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog

from arks.kit import ports
from arks.kit.home import LocalHome
from arks.kit.settings import Settings
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.servers import Server, nats_server, valkey_server


def pytest_configure(config: pytest.Config) -> None:
    """Give each parallel worker ports of its own, and log as fast as programs do.

    Two workers could choose the same port before either listens, and two Envoys can even listen on one: each gets some
    of the other's requests.
    """
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None:
        ports.CANDIDATES = ports.CANDIDATES[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]
    _log_plain_tracebacks()


def _log_plain_tracebacks() -> None:
    """Where rich is installed, structlog shows all variables of a traceback. That takes 0.2 s or, for a bus and its
    clients, seconds, in which the event loop stands still and answers of real servers time out.
    """
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], renderer])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest_asyncio.fixture
async def nats(tmp_path: Path) -> AsyncIterator[Server]:
    """A NATS server of this test's own, which it may kill."""
    async with nats_server(tmp_path / "nats") as server:
        yield server


@pytest_asyncio.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[Server]:
    """A Redis-compatible server of this test's own, which it may kill."""
    async with valkey_server(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def settings(nats: Server, tmp_path: Path) -> Settings:
    return Settings(nats_url=f"nats://127.0.0.1:{nats.port}", state_dir=tmp_path / "state", drain_seconds=1.0)


@pytest_asyncio.fixture
async def home(settings: Settings) -> AsyncIterator[LocalHome]:
    """A home on the test's NATS. Not started: the test, or the App that it builds, does that."""
    home = LocalHome("test", settings)
    yield home
    await home.stop()
