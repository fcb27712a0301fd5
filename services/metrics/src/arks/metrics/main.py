"""Wiring of metrics."""

from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.app import App
from arks.kit.home import Home
from arks.kit.start import home_from_environment
from arks.kit.types import AsyncCallable
from arks.metrics.adapters.engines import HttpEngines
from arks.metrics.adapters.facts import follow
from arks.metrics.adapters.gpus import find_gpus
from arks.metrics.adapters.metrics import GpuGauges, ReplicaGauges
from arks.metrics.adapters.reports import NatsReports
from arks.metrics.config import Settings
from arks.metrics.domain.rates import Windows
from arks.metrics.service.collector import Collector
from arks.metrics.service.gpus import GpuWatch
from arks.metrics.service.ports import Engines, Gpus, ReadPolicy, Reports


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
        connections=settings.load_concurrent_reads + settings.load_concurrent_silent_reads,
    )
    collector = Collector(
        engines=engines or http,
        reports=reports or NatsReports(home.bus, home.clock, home.registry),
        clock=home.clock,
        policy=_policy(settings),
    )
    follow(home.facts(Facts.REPLICAS, ReplicasFact).cache, collector)
    home.registry.register(ReplicaGauges(collector, home.clock))
    tasks: list[AsyncCallable] = [collector.run]
    if gpus is not None:
        watch = GpuWatch(gpus, collector, settings.gpu_interval_seconds)
        home.registry.register(GpuGauges(watch))
        tasks.append(watch.run)
    return App("metrics", home, tasks=tasks, starts=[http.start], stops=[http.stop])


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
