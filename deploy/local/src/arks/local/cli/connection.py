"""The connection of a command to the running Arks."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from arks.local.cli.failure import Exit, Failure
from arks.local.files.paths import Paths
from arks.local.files.state import State
from arks.local.files.state_file import state_if_running

if TYPE_CHECKING:
    from arks.local.client.store import Store


def running_state(paths: Paths) -> State:
    """The state of the running Arks. Raises Failure if it is not running."""
    state = state_if_running(paths)
    if state is None:
        raise not_running(paths)
    return state


def not_running(paths: Paths) -> Failure:
    return Failure(f"Arks is not running in {paths.home}", "start it with `arks up`", Exit.NOT_RUNNING)


@asynccontextmanager
async def connected(home: Path) -> "AsyncIterator[Store]":
    """The store of the running Arks. Raises Failure."""
    paths = Paths.of(home)
    state = running_state(paths)
    with _without_optional_imports():
        from arks.local.client.store import connect
    silence_libraries()
    async with connect(paths, state.ports["nats"]) as store:
        yield store


@contextmanager
def _without_optional_imports() -> Iterator[None]:
    """Keep libraries from importing optional ones: half a second per command."""
    blocked = [name for name in ("aiohttp", "opentelemetry", "pygments", "rich") if name not in sys.modules]
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it fails as if it were not installed
    try:
        yield
    finally:
        for name in blocked:
            del sys.modules[name]


def silence_libraries() -> None:
    """Switch off the logs of libraries, which are meant for services: a command prints one message instead."""
    import logging

    import structlog

    logging.getLogger().setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
