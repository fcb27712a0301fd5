"""Wiring of metrics."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arks.contracts.resources import ArksAutoscaler
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ReplicasFact, ScalingFact
from arks.kit.app import App
from arks.kit.cache import Cache
from arks.kit.facts import FactWriter
from arks.kit.home import Home
from arks.kit.key import Key
from arks.kit.reconcile import Controller, FirstPass
from arks.kit.resource_events import ResourceEvents
from arks.kit.start import home_from_environment
from arks.kit.status import StatusWriter
from arks.kit.types import AsyncCallable
from arks.metrics.adapters.autoscalers import AutoscalerGauges
from arks.metrics.adapters.demand import DemandFollower
from arks.metrics.adapters.engines import HttpEngines
from arks.metrics.adapters.facts import follow
from arks.metrics.adapters.gpus import find_gpus
from arks.metrics.adapters.loads import LoadFollower
from arks.metrics.adapters.local.wiring import no_pod_autoscalers
from arks.metrics.adapters.members import BusMembers, name_of_process
from arks.metrics.adapters.metrics import GpuGauges, MemberGauges, ReplicaGauges
from arks.metrics.adapters.reports import NatsReports
from arks.metrics.adapters.usage import UsageFollower
from arks.metrics.api.external_metrics import ExternalMetrics
from arks.metrics.config import Settings
from arks.metrics.domain.members import Members
from arks.metrics.domain.rates import Windows
from arks.metrics.service.collector import Collector
from arks.metrics.service.gpus import GpuWatch
from arks.metrics.service.ports import Engines, Gpus, ReadPolicy, Reports
from arks.metrics.service.scaling.applications import Applications
from arks.metrics.service.scaling.autoscalers import Autoscalers
from arks.metrics.service.scaling.loads import SharedLoads
from arks.metrics.service.scaling.targets import Targets
from arks.metrics.service.scaling.waking import Waking
from arks.metrics.service.sharing import Sharing

if TYPE_CHECKING:
    from arks.metrics.adapters.kubernetes.wiring import Parts


def build(
    settings: Settings,
    home: Home,
    *,
    engines: Engines | None = None,
    reports: Reports | None = None,
    gpus: Gpus | None = None,
) -> App:
    """The whole service on the given home (one machine, Kubernetes, or a test's); no GPU signals without `gpus`."""
    http = HttpEngines(
        home.registry,
        timeout_seconds=settings.load_read_timeout_seconds,
        limit_bytes=settings.load_page_limit_bytes,
    )
    members = Members(name_of_process())
    collector = Collector(
        engines=engines or http,
        reports=reports or NatsReports(home.bus, home.clock, home.registry),
        clock=home.clock,
        policy=_policy(settings),
        members=members,
    )
    facts = home.facts(Facts.REPLICAS, ReplicasFact).cache
    follow(facts, collector)
    home.registry.register(ReplicaGauges(collector, home.clock))
    home.registry.register(MemberGauges(members, collector))
    sharing = Sharing(members, collector, BusMembers(home.bus), home.clock, synced=facts.synced.wait)
    tasks: list[AsyncCallable] = [collector.run, sharing.run]
    scaling = _scaling(settings, home, facts, collector, members)
    tasks += scaling.tasks
    if gpus is not None:
        watch = GpuWatch(gpus, collector, settings.gpu_interval_seconds)
        home.registry.register(GpuGauges(watch))
        tasks.append(watch.run)
    starts, stops = scaling.starts, [http.stop, sharing.depart, *scaling.stops]
    controllers, problems = [scaling.controller], [sharing.problem]
    return App("metrics", home, controllers=controllers, tasks=tasks, starts=starts, stops=stops, problems=problems)


@dataclass(frozen=True, slots=True)
class _Scaling:
    """The controller of autoscalers, and what runs beside it."""

    controller: Controller
    starts: list[AsyncCallable]
    tasks: list[AsyncCallable] = field(default_factory=list)
    stops: list[AsyncCallable] = field(default_factory=list)


def _scaling(
    settings: Settings, home: Home, replicas: Cache[ReplicasFact], collector: Collector, members: Members
) -> _Scaling:
    parts = _pod_autoscalers(settings, home)
    autoscalers = home.resources(ArksAutoscaler)
    targets = Targets(autoscalers.cache)
    facts = home.fact_writer(Facts.SCALING, ScalingFact)
    loads = _loads_read_by_others(home, targets, members)
    applications = Applications(replicas, SharedLoads(collector, loads), home.clock)
    work = Autoscalers(
        resources=autoscalers,
        targets=targets,
        applications=applications,
        facts=facts,
        events=ResourceEvents(home.outbox),
        clock=home.clock,
        statuses=StatusWriter(autoscalers, home.clock),
        interval_seconds=settings.scaling_interval_seconds,
        pod_autoscalers=None if parts is None else parts.pod_autoscalers,
    )
    controller = _controller(home, work, autoscalers.cache, facts)
    targets.subscribe(controller.enqueue)
    home.registry.register(AutoscalerGauges(autoscalers.cache))
    waking = Waking(applications, targets, controller.enqueue)
    demand = DemandFollower(home.bus, waking.take_refused, waking.take_held)
    followers: list[AsyncCallable] = [UsageFollower(home.bus, waking.take).start, demand.start]

    async def follow_loads() -> None:
        """Only the replica that decides needs them."""
        await home.leading()
        await loads.run()

    if parts is None:
        return _Scaling(controller, followers, [follow_loads])
    parts.written.subscribe(controller.enqueue)
    server = _external_metrics(settings, home, autoscalers.cache, parts)

    async def listen() -> None:
        await server.start(parts.tls.context)

    return _Scaling(controller, [*followers, listen], [parts.registration.run, follow_loads], [server.stop])


def _loads_read_by_others(home: Home, targets: Targets, members: Members) -> LoadFollower:
    def needed() -> set[Key]:
        return set() if members.alone else {key for key in targets.measured() if not members.owns(key)}

    return LoadFollower(home.bus, home.clock, needed)


def _controller(
    home: Home, work: Autoscalers, autoscalers: Cache[ArksAutoscaler], facts: FactWriter[ScalingFact]
) -> Controller:
    first_pass = FirstPass(autoscalers.existing, facts.complete, facts.keep)
    return Controller("autoscalers", work.reconcile, clock=home.clock, first_pass=first_pass)


def _external_metrics(
    settings: Settings, home: Home, autoscalers: Cache[ArksAutoscaler], parts: "Parts"
) -> ExternalMetrics:
    return ExternalMetrics(
        autoscalers,
        home.clock,
        host=settings.external_metrics_host,
        port=settings.external_metrics_port,
        names=parts.registration.names,
    )


def _pod_autoscalers(settings: Settings, home: Home) -> "Parts | None":
    if home.kube is None:
        no_pod_autoscalers(settings)
        return None
    if not settings.horizontal_pod_autoscalers:
        return None
    from arks.metrics.adapters.kubernetes.wiring import pod_autoscaler_parts  # noqa: PLC0415  # only where needed

    return pod_autoscaler_parts(settings, home.kube)


def _policy(settings: Settings) -> ReadPolicy:
    return ReadPolicy(
        tick_seconds=settings.load_tick_seconds,
        late_seconds=settings.load_late_seconds,
        windows=Windows(settings.load_rate_window_seconds, settings.load_drain_window_seconds),
        concurrent_reads=settings.load_concurrent_reads,
        concurrent_silent_reads=settings.load_concurrent_silent_reads,
    )


if __name__ == "__main__":
    settings = Settings()
    build(settings, home_from_environment("metrics", settings), gpus=find_gpus()).run()
