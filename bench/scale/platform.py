"""Runs API server, NATS, Valkey, the services and Envoy, with a simulation of the rest of a cluster."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from arks.kit.process import end, spawn
from arks.kit.tasks import cancel
from arks.kit.testing.servers import nats_server, valkey_server
from bench.scale.cluster import Cluster, cluster
from bench.scale.gateway import Gateway
from bench.scale.players import Players
from bench.scale.services import NAMES, Services

_ENGINE_PORT = 8080


@asynccontextmanager
async def platform(directory: Path, number: int) -> AsyncIterator[tuple[Cluster, Services, Gateway]]:
    """A platform for at most `number` applications. The services are not started; their logs go to `directory`."""
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(cluster(directory / "kube"))
        nats = await stack.enter_async_context(nats_server(directory / "nats"))
        valkey = await stack.enter_async_context(valkey_server(directory / "valkey"))
        accounts = {name: await started.account(name, directory / "accounts" / name) for name in NAMES}
        services = Services(started, nats, valkey, directory, accounts)
        services.prepare()
        stack.push_async_callback(services.stop)
        engine = [sys.executable, "-m", "bench.scale.engine", str(_ENGINE_PORT), str(number)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        engines = await spawn(engine, log_file=directory / "engine.log", environment=environment)
        stack.push_async_callback(end, engines, grace_seconds=2.0)
        playing = asyncio.create_task(Players(started.api, number).run())
        stack.push_async_callback(cancel, playing)
        gateway = Gateway(services.gateway_port, services.admin_port)
        stack.push_async_callback(gateway.close)
        yield started, services, gateway
