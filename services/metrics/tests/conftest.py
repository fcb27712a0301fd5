"""The whole service against a real NATS and scripted engines."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from arks.contracts.resources import ArksAutoscaler
from arks.contracts.subjects import LOAD_SUBJECTS, Facts
from arks.events.v1.facts_pb2 import ReplicasFact, ReplicaState, ScalingFact
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.kit.bus import Bus
from arks.kit.cache import Cache
from arks.kit.facts import FactWriter
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.ports import free_port
from arks.kit.resources import LocalResources
from arks.kit.testing.run import running, running_home
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually
from arks.metrics.config import Settings
from arks.metrics.main import build

KEY = Key("default", "app")


class ScriptedEngine:
    """An HTTP server whose /metrics is `page`, or whatever `answer` does."""

    def __init__(self) -> None:
        self.port = free_port()
        self.page = b"vllm:num_requests_running 0\n"
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.connections: set[object] = set()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        if self.answer is not None:
            return await self.answer(request)
        return web.Response(body=self.page, content_type="text/plain")


@dataclass
class Service:
    """The running service, as its neighbours see it: facts go in, reports come out."""

    facts: FactWriter[ReplicasFact]
    port: int
    autoscalers: LocalResources[ArksAutoscaler]
    scaling: Cache[ScalingFact]
    bus: Bus
    reports: list[tuple[float, LoadReport]] = field(default_factory=list)

    def take(self, report: LoadReport) -> None:
        self.reports.append((asyncio.get_running_loop().time(), report))

    def set_replicas(self, *ports: int, runtime: str = "vllm", restarts: int = 0, slots: int = 0) -> None:
        """Write the fact of app-deployer with these ready replicas."""
        fact = ReplicasFact(namespace=KEY.namespace, application=KEY.name, runtime=runtime, served_model="m")
        for index, port in enumerate(ports):
            fact.replicas.add(
                name=f"app-{index}",
                host="127.0.0.1",
                port=port,
                state=ReplicaState.REPLICA_STATE_READY,
                restarts=restarts,
                slots=slots,
            )
        self.facts.put(KEY, fact)

    async def load(
        self, holds: Callable[[ReplicaLoad], bool], replica: str = "app-0", *, within_seconds: float = 30.0
    ) -> ReplicaLoad:
        """The first load of the replica, in a report from now on, of which this holds."""
        seen = len(self.reports)

        def found() -> ReplicaLoad | None:
            loads = (load for _, report in self.reports[seen:] for load in report.replicas if load.name == replica)
            return next((load for load in loads if holds(load)), None)

        load = await eventually(found, within_seconds=within_seconds, what=f"load of {replica}")
        assert load is not None
        return load


@asynccontextmanager
async def _engine() -> AsyncIterator[ScriptedEngine]:
    engine = ScriptedEngine()
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest_asyncio.fixture
async def engines() -> AsyncIterator[list[ScriptedEngine]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_engine()) for _ in range(3)]


@pytest.fixture
def engine(engines: list[ScriptedEngine]) -> ScriptedEngine:
    return engines[0]


@pytest_asyncio.fixture
async def service(nats: Server, tmp_path: Path) -> AsyncIterator[Service]:
    settings = Settings(
        nats_url=f"nats://127.0.0.1:{nats.port}",
        state_dir=tmp_path,
        http_port=free_port(),
        drain_seconds=1.0,
        scaling_interval_seconds=0.2,
        load_read_timeout_seconds=2.0,
    )
    neighbour = LocalHome("neighbour", settings)
    writer = neighbour.fact_writer(Facts.REPLICAS, ReplicasFact)
    writer.complete()
    autoscalers = LocalResources(neighbour.bus, ArksAutoscaler, neighbour.clock)
    scaling = neighbour.facts(Facts.SCALING, ScalingFact).cache
    service = Service(writer, settings.http_port, autoscalers, scaling, neighbour.bus)
    async with running_home(neighbour):
        await neighbour.bus.subscribe(LOAD_SUBJECTS, lambda payload: service.take(LoadReport.FromString(payload)))
        async with running(build(settings, LocalHome("metrics", settings))):
            yield service
