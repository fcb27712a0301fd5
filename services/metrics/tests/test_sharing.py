"""Three replicas of metrics divide applications, with real NATS; one of them is a process that is killed."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from arks.contracts.resources import ArksAutoscaler
from arks.contracts.subjects import LOAD_SUBJECTS, METRICS_MEMBERS_SUBJECT, Facts
from arks.events.v1.facts_pb2 import ReplicasFact, ReplicaState, ScalingFact, StageFact
from arks.events.v1.load_pb2 import LoadReport, MetricsMember
from arks.kit.bus import Bus
from arks.kit.cache import Cache
from arks.kit.clock import SystemClock
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.ports import free_port
from arks.kit.resources import LocalResources
from arks.kit.tasks import cancel
from arks.kit.testing.run import running, running_home
from arks.kit.testing.servers import Server, serve
from arks.kit.testing.wait import eventually
from arks.metrics.adapters.loads import LoadFollower
from arks.metrics.config import Settings
from arks.metrics.domain.members import owner
from arks.metrics.main import build

pytestmark = pytest.mark.real
APPLICATIONS = [Key("default", f"app-{number}") for number in range(12)]
PREFILL = Key("default", "pd/prefill")
BOUND_SECONDS = 15.0
"""About two seconds until a silent member counts as gone, and what a busy machine takes."""


class Pages:
    """The engines of all applications: one server with a port for each."""

    def __init__(self) -> None:
        self.ports = {key: free_port() for key in [*APPLICATIONS, PREFILL]}
        self.reads: dict[Key, list[tuple[float, object]]] = {key: [] for key in self.ports}
        """Times, and the connection of the reader."""

    async def start(self, stack: AsyncExitStack) -> None:
        keys = {port: key for key, port in self.ports.items()}

        async def page(request: web.Request) -> web.Response:
            assert request.transport is not None
            port = request.transport.get_extra_info("sockname")[1]
            self.reads[keys[port]].append((asyncio.get_running_loop().time(), request.transport))
            return web.Response(body=b"vllm:num_requests_running 6\nvllm:num_requests_waiting 2\n")

        application = web.Application()
        application.router.add_get("/metrics", page)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for port in self.ports.values():
            await web.TCPSite(runner, "127.0.0.1", port).start()

    def readers(self, since: float) -> dict[Key, set[object]]:
        return {key: {reader for at, reader in reads if at >= since} for key, reads in self.reads.items()}


@dataclass
class Cluster:
    stack: AsyncExitStack
    directory: Path
    nats: Server
    pages: Pages
    bus: Bus
    autoscalers: LocalResources[ArksAutoscaler]
    scaling: Cache[ScalingFact]
    members: dict[str, MetricsMember] = field(default_factory=dict)
    reports: dict[Key, list[float]] = field(default_factory=dict)
    """When the load of an application was reported, without a problem."""

    async def join(self, home: type[LocalHome] = LocalHome) -> str:
        """Start a replica of metrics in this process. Returns its name once it reports."""
        before = set(self.members)
        settings = _settings(self.nats, self.directory)
        await self.stack.enter_async_context(running(build(settings, home("metrics", settings))))
        return await self.reporting(lambda name: name not in before)

    async def join_as_process(self) -> Server:
        settings, directory = _settings(self.nats, self.directory), self.directory / "process"
        directory.mkdir()
        given = {"NATS_URL": settings.nats_url, "STATE_DIR": settings.state_dir, "HTTP_PORT": settings.http_port}
        environment = [f"ARKS_{name}={value}" for name, value in given.items()]
        command = ["env", *environment, sys.executable, "-m", "arks.metrics.main"]
        return await self.stack.enter_async_context(serve(command, settings.http_port, directory))

    async def reporting(self, wanted: Callable[[str], bool]) -> str:
        """Returns the name of a member that reports what is its own, once there is one."""

        def name() -> str | None:
            return next((name for name, member in self.members.items() if member.ready and wanted(name)), None)

        found = await eventually(name, within_seconds=60.0, what="a member that reports")
        assert found is not None
        return found

    async def divided(self) -> dict[Key, object]:
        """Returns the reader of each page, once each had exactly one for some rounds."""

        async def readers() -> dict[Key, object] | None:
            since = asyncio.get_running_loop().time()
            await asyncio.sleep(1.0)  # what is counted is who reads in this time
            found = self.pages.readers(since)
            return {key: next(iter(each)) for key, each in found.items()} if _each_one(found) else None

        found = await eventually(readers, within_seconds=60.0, what="one reader of each page")
        assert found is not None
        return found


class StandbyHome(LocalHome):
    """As on Kubernetes while another replica is elected."""

    async def leading(self) -> None:
        await asyncio.Event().wait()


def _each_one(readers: dict[Key, set[object]]) -> bool:
    return all(len(each) == 1 for each in readers.values())


def _settings(nats: Server, directory: Path) -> Settings:
    url = f"nats://127.0.0.1:{nats.port}"
    return Settings(
        nats_url=url, state_dir=directory, http_port=free_port(), drain_seconds=1.0, scaling_interval_seconds=0.2
    )


def _fact(key: Key, port: int) -> ReplicasFact:
    fact = ReplicasFact(namespace=key.namespace, application=key.name, runtime="vllm", served_model="m")
    _add(fact, port)
    return fact


def _add(fact: ReplicasFact | StageFact, port: int) -> None:
    fact.replicas.add(name="a", host="127.0.0.1", port=port, state=ReplicaState.REPLICA_STATE_READY, slots=4)


@pytest_asyncio.fixture
async def cluster(nats: Server, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        neighbour, pages = LocalHome("neighbour", _settings(nats, tmp_path)), Pages()
        await pages.start(stack)
        facts = neighbour.fact_writer(Facts.REPLICAS, ReplicasFact)
        facts.complete()
        for key in APPLICATIONS:
            facts.put(key, _fact(key, pages.ports[key]))
        staged = ReplicasFact(namespace="default", application="pd", runtime="vllm", served_model="m")
        _add(staged.stages.add(name="prefill", runtime="vllm"), pages.ports[PREFILL])
        facts.put(Key("default", "pd"), staged)
        scaling = neighbour.facts(Facts.SCALING, ScalingFact).cache
        autoscalers = LocalResources(neighbour.bus, ArksAutoscaler, neighbour.clock)
        await stack.enter_async_context(running_home(neighbour))
        cluster = Cluster(stack, tmp_path, nats, pages, neighbour.bus, autoscalers, scaling)

        def take_report(payload: bytes) -> None:
            report = LoadReport.FromString(payload)
            if not any(load.problem for load in report.replicas):
                now = asyncio.get_running_loop().time()
                cluster.reports.setdefault(Key(report.namespace, report.application), []).append(now)

        def take_member(payload: bytes) -> None:
            member = MetricsMember.FromString(payload)
            cluster.members[member.name] = member

        await neighbour.bus.subscribe(LOAD_SUBJECTS, take_report)
        await neighbour.bus.subscribe(METRICS_MEMBERS_SUBJECT, take_member)
        yield cluster


async def test_when_one_of_three_is_killed_the_others_read_its_share_soon_and_theirs_as_before(
    cluster: Cluster,
) -> None:
    process, *_ = await asyncio.gather(cluster.join_as_process(), cluster.join(), cluster.join())
    killed = await cluster.reporting(lambda name: f"-{process.process.pid}-" in name)
    before = await cluster.divided()
    assert 3 == len(cluster.members)
    share = [key for key in before if owner(key, cluster.members) == killed]
    began = asyncio.get_running_loop().time()
    await process.kill()

    def reported_again() -> bool:
        return all(cluster.reports[key][-1] > began + 1.0 for key in APPLICATIONS)

    await eventually(reported_again, within_seconds=BOUND_SECONDS, what="reports of all applications")
    after = await cluster.divided()
    assert share == [key for key in after if after[key] is not before[key]]


async def test_one_that_joins_takes_its_share_over_without_a_gap_and_without_double_reports(cluster: Cluster) -> None:
    first = await cluster.join()
    before = await cluster.divided()
    second = await cluster.join()
    after = await cluster.divided()
    share = [key for key in after if owner(key, [first, second]) == second]
    assert share == [key for key in after if after[key] is not before[key]]
    for key in set(share) - {PREFILL}:
        reads = cluster.pages.reads[key]
        begin = next(at for at, reader in reads if reader is after[key])
        olds = [at for at, reader in reads if reader is before[key] and at >= begin]
        assert olds, "the old reader went on until the new one took over"
        reports = [at for at in cluster.reports[key] if begin <= at <= olds[-1]]
        assert len(reports) <= len(olds) + 2


async def test_a_member_that_does_not_report_yet_is_not_ready_for_a_rollout(nats: Server, tmp_path: Path) -> None:
    settings = _settings(nats, tmp_path)
    app = build(settings, LocalHome("metrics", settings))
    assert "does not report its share of the applications yet" in app.problems()


async def test_the_elected_replica_decides_by_loads_that_a_standby_reads(cluster: Cluster) -> None:
    leader = await cluster.join()
    standby = await cluster.join(StandbyHome)
    application = next(key for key in APPLICATIONS if owner(key, [leader, standby]) == standby)
    spec = {"target": {"name": application.name}, "maxReplicas": 5, "objectives": {"slotUsePercent": 100}}
    await cluster.autoscalers.apply(ArksAutoscaler.from_dict({"metadata": {"name": "chat"}, "spec": spec}))

    def wanted() -> int | None:
        fact = cluster.scaling.get(Key("default", "chat"))
        return None if fact is None else fact.replicas

    await eventually(lambda: wanted() == 2, what="two replicas for eight requests in four slots")


async def test_the_loads_of_stages_are_exchanged_while_there_are_several_members(cluster: Cluster) -> None:
    follower = LoadFollower(cluster.bus, SystemClock(), lambda: {PREFILL})
    following = asyncio.create_task(follower.run())
    try:
        await asyncio.gather(cluster.join(), cluster.join())
        received = await eventually(lambda: follower.newest(PREFILL), what="the load of a stage")
        assert received is not None
        (replica, report), *_ = received.replicas.items()
        assert ("a", 4) == (replica.name, replica.slots)
        assert report.reading is not None
        assert 6.0 == report.reading.snapshot.running_requests
    finally:
        await cancel(following)
