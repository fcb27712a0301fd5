"""The connection of a command to the running Arks: on this machine, or on a cluster."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from arks.local.cli.cluster_failure import cluster_failure
from arks.local.cli.failure import Exit, Failure
from arks.local.cli.home import ClusterHome, Home
from arks.local.files.paths import Paths
from arks.local.files.state import State
from arks.local.files.state_file import state_if_running

if TYPE_CHECKING:
    from arks.local.client.bus_reader import BusReader
    from arks.local.client.cluster import Cluster
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
async def connected(home: Home) -> "AsyncIterator[Store | Cluster]":
    """Access to resources. Raises Failure."""
    if isinstance(home, ClusterHome):
        async with cluster_of(home) as cluster:
            yield cluster
    else:
        async with _store(home) as store:
            yield store


@asynccontextmanager
async def on_this_machine(home: Path) -> "AsyncIterator[Store]":
    """The store of the running Arks. Raises Failure."""
    async with _store(home) as store:
        yield store


@asynccontextmanager
async def on_bus(home: Home) -> "AsyncIterator[BusReader]":
    """What services publish: facts, load reports, events, requests. Raises Failure."""
    if isinstance(home, ClusterHome):
        async with cluster_of(home) as cluster, cluster.bus() as bus:
            yield bus
    else:
        async with _store(home) as store:
            yield store


@asynccontextmanager
async def cluster_of(home: ClusterHome) -> "AsyncIterator[Cluster]":
    """Raises Failure."""
    from arks.kit.errors import ArksError
    from arks.local.client.cluster import connect_cluster

    silence_libraries()
    try:
        async with connect_cluster(await home.access(), home.namespace, home.release_namespace) as cluster:
            yield cluster
    except ArksError as error:
        raise cluster_failure(error, home) from error


@asynccontextmanager
async def _store(home: Path) -> "AsyncIterator[Store]":
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
