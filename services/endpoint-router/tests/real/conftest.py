"""The router with a real Envoy and a real NATS; engines and admission are small scripted servers."""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from aiohttp import web

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksEndpoint
from arks.contracts.subjects import Facts, fact_key, load_subject
from arks.endpoint_router.adapters.xds import ConfigSnapshot
from arks.endpoint_router.config import Settings
from arks.endpoint_router.main import build
from arks.endpoint_router.programs.bootstrap import bootstrap_json
from arks.endpoint_router.testing.program import envoy_line
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.bus import to_json
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.ports import free_port
from arks.kit.resources import LocalResources
from arks.kit.settings import Settings as KitSettings
from arks.kit.testing.run import running, running_home
from arks.kit.testing.servers import Server, serve
from arks.kit.testing.wait import eventually

NAMESPACE = "default"
GATEWAY_TOKEN = "gateway-token"  # of these tests


@asynccontextmanager
async def _listening(application: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@dataclass
class Engine:
    """Answers with its own port, and counts requests; answers wait while `hold` exists and is not set."""

    port: int = field(default_factory=free_port)
    served: int = 0
    delay_seconds: float = 0.0
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1_000))
    hold: asyncio.Event | None = None

    async def answer(self, _: web.Request) -> web.Response:
        self.served += 1
        async with self.slots:
            await asyncio.sleep(self.delay_seconds)
        if self.hold is not None:
            await self.hold.wait()
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return web.json_response({"object": "chat.completion", "port": self.port, "choices": [], "usage": usage})

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes([web.post("/v1/chat/completions", self.answer)])
        return application


_LEASES = itertools.count()


async def _admit(request: web.Request) -> web.Response:
    """Grant every request, with a lease for as many as the filter may want; the endpoint is the model's name."""
    if request.headers.get("x-arks-gateway-token") != GATEWAY_TOKEN:
        return web.Response(status=401)
    cluster = f"{NAMESPACE}/{request.headers['x-arks-model']}"
    headers = {
        "x-arks-cluster": cluster,
        "x-arks-grant": f"{cluster}/alice/lease{next(_LEASES):012}/1/1",
        "x-arks-lease": "1000,1000000,1000000,1000,1",
        "x-arks-outage": "refuse",
        "x-arks-affinity": "1024",  # counts only in clusters of endpoints with affinity
    }
    return web.Response(headers=headers)


class RunningRouter:
    """The router inside the test's own process."""

    def __init__(self, settings: Settings) -> None:
        self.snapshot = ConfigSnapshot()
        self.home = LocalHome("endpoint-router", settings)
        self.app = build(settings, self.home, self.snapshot)

    def metric(self, name: str, **labels: str) -> float:
        return self.home.registry.get_sample_value(name, labels) or 0.0


@dataclass
class Platform:
    """Everything around the router, and writers for the facts and load reports of other services."""

    directory: Path
    settings: Settings
    nats: Server
    home: LocalHome
    client: httpx.AsyncClient
    stack: AsyncExitStack

    async def router(self) -> RunningRouter:
        router = RunningRouter(self.settings)
        await self.stack.enter_async_context(running(router.app))
        return router

    async def router_process(self) -> Server:
        """Start the router as a process of its own, which a test can kill."""
        settings = self.settings.model_dump(exclude_none=True)
        environment = {f"ARKS_{name.upper()}": str(value) for name, value in settings.items()}
        command_ = ["env", *(f"{name}={value}" for name, value in environment.items())]
        command_ += [sys.executable, "-m", "arks.endpoint_router.main"]
        (self.directory / "router").mkdir(exist_ok=True)
        server = await self.stack.enter_async_context(
            serve(command_, self.settings.http_port, self.directory / "router")
        )
        await self.router_ready()
        return server

    async def router_ready(self) -> None:
        async def ready() -> bool:
            try:
                return (await self.client.get(f"http://127.0.0.1:{self.settings.http_port}/readyz")).is_success
            except httpx.TransportError:
                return False

        await eventually(ready, within_seconds=60, what="the router is ready")

    async def envoy(self) -> Server:
        bootstrap = self.directory / "envoy.json"
        bootstrap.write_text(bootstrap_json(self.settings))
        (self.directory / "envoy").mkdir(exist_ok=True)
        server = await self.stack.enter_async_context(
            serve(
                envoy_line(bootstrap, ARKS_GATEWAY_TOKEN=GATEWAY_TOKEN),
                self.settings.envoy_admin_port,
                self.directory / "envoy",
            )
        )

        async def ready() -> bool:
            return (await self.client.get(f"{self.admin}/ready")).is_success

        await eventually(ready, within_seconds=60, what="Envoy is ready")
        return server

    async def engine(self) -> Engine:
        engine = Engine()
        await self.stack.enter_async_context(_listening(engine.application(), engine.port))
        return engine

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.settings.envoy_admin_port}"

    # --- other services

    async def apply(self, name: str, **spec: object) -> None:
        manifest = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
        await LocalResources(self.home.bus, ArksEndpoint).apply(ArksEndpoint.from_dict(manifest))

    async def endpoint(self, name: str) -> ArksEndpoint:
        found = await LocalResources(self.home.bus, ArksEndpoint).read(key(name))
        assert found is not None
        return found

    async def report(
        self, model: str, ports: Sequence[int], application: str = "", state: ReplicaState = ReplicaState.READY
    ) -> None:
        """Write the fact of an application with these replicas, as app-deployer does."""
        application = application or model
        replicas = [
            ReplicaFact(f"{application}-{n}", "127.0.0.1", port, state).to_message() for n, port in enumerate(ports)
        ]
        fact = ReplicasFact(namespace=NAMESPACE, application=application, served_model=model, replicas=replicas)
        bucket = await self.home.bus.bucket(Facts.REPLICAS)
        await bucket.put(fact_key(NAMESPACE, application), to_json(fact))

    async def load(self, application: str, *drain_rates: float, age_seconds: float = 0.0, waiting: float = 0) -> None:
        """Report replicas with 4 running requests and these drain rates; the last one has a queue."""
        report = LoadReport(namespace=NAMESPACE, application=application)
        report.measured_at.FromNanoseconds(time.time_ns() - int(age_seconds * 1e9))
        for n, rate in enumerate(drain_rates):
            report.replicas.add(
                name=f"{application}-{n}", running_requests=4, waiting_requests=0, drain_rate_per_second=rate
            )
        report.replicas[-1].waiting_requests = waiting
        await self.home.bus.publish(load_subject(NAMESPACE, application), report.SerializeToString())

    async def report_drain_rates(self, application: str, *drain_rates: float) -> None:
        """Publish the load reports of the last 15 seconds.

        With pauses, because a report replaces the one before it that the router has not handled.
        """
        for age in range(15, 0, -1):
            await self.load(application, *drain_rates, age_seconds=age)
            await asyncio.sleep(0.02)

    # --- results

    async def post(self, model: str) -> httpx.Response:
        return await self.client.post(
            f"http://127.0.0.1:{self.settings.gateway_port}/v1/chat/completions",
            content=json.dumps({"model": model, "messages": [{}]}),
            headers={"authorization": "Bearer k", "content-type": "application/json"},
        )

    async def hosts(self, model: str) -> dict[int, Any]:
        """Return (weight, health) by port, as Envoy has them. Raises KeyError if Envoy has no such cluster."""
        clusters = (await self.client.get(f"{self.admin}/clusters?format=json")).json()["cluster_statuses"]
        named = {cluster["name"]: cluster.get("host_statuses", []) for cluster in clusters}
        return {
            host["address"]["socket_address"]["port_value"]: (
                host["weight"],
                host["health_status"].get("eds_health_status", "HEALTHY"),
            )
            for host in named[f"{NAMESPACE}/{model}"]
        }

    async def hosts_of_all(self, prefix: str) -> int:
        """Return the number of hosts in all clusters with this prefix."""
        clusters = (await self.client.get(f"{self.admin}/clusters?format=json")).json()["cluster_statuses"]
        return sum(len(cluster.get("host_statuses", [])) for cluster in clusters if cluster["name"].startswith(prefix))

    async def stat(self, name: str) -> int:
        text = (await self.client.get(f"{self.admin}/stats?filter=^{name.replace('.', '[.]')}$")).text
        return int(text.rsplit(": ", 1)[1]) if text else 0


def key(name: str) -> Key:
    return Key(NAMESPACE, name)


@pytest_asyncio.fixture
async def platform(nats: Server, settings: KitSettings, tmp_path: Path) -> AsyncIterator[Platform]:
    admission = free_port()
    token = tmp_path / "gateway-token"
    token.write_text(GATEWAY_TOKEN)
    ours = Settings(
        **settings.model_dump(exclude={"http_port"}),
        http_port=free_port(),
        xds_port=free_port(),
        gateway_port=free_port(),
        envoy_admin_port=free_port(),
        token_quota_port=admission,
        usage_log=tmp_path / "usage.log",
        hold_seconds=5.0,
        gateway_token_file=token,
    )
    application = web.Application()
    application.add_routes([web.post("/v1/admit", _admit)])
    home = LocalHome("neighbours", settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_listening(application, admission))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=30, trust_env=False))
        await stack.enter_async_context(running_home(home))
        yield Platform(tmp_path, ours, nats, home, client, stack)
