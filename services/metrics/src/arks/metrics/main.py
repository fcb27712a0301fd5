"""metrics: wiring."""

from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.app import App
from arks.kit.home import Home, Run
from arks.kit.start import home_from_environment
from arks.metrics.adapters.engines import HttpEngines
from arks.metrics.adapters.gpus import find_gpus
from arks.metrics.adapters.reports import NatsReports
from arks.metrics.api import GpuGauges, ReplicaGauges, follow
from arks.metrics.config import Settings
from arks.metrics.service import Collector, Engines, Gpus, GpuWatch, Reports


def build(
    settings: Settings,
    home: Home,
    *,
    engines: Engines | None = None,
    reports: Reports | None = None,
    gpus: Gpus | None = None,
) -> App:
    """The whole service on the given home (one machine, Kubernetes, or a test's); no GPU signals without `gpus`."""
    http = HttpEngines(settings, home.registry)
    collector = Collector(
        engines=engines or http,
        reports=reports or NatsReports(home.bus, home.clock, home.registry),
        clock=home.clock,
        settings=settings,
    )
    follow(home.facts(Facts.REPLICAS, ReplicasFact).cache, collector)
    home.registry.register(ReplicaGauges(collector, home.clock))
    tasks: list[Run] = [collector.run]
    if gpus is not None:
        watch = GpuWatch(gpus, collector, settings.gpu_interval_seconds)
        home.registry.register(GpuGauges(watch))
        tasks.append(watch.run)
    return App("metrics", home, tasks=tasks, starts=[http.start], stops=[http.stop])


if __name__ == "__main__":
    settings = Settings()
    build(settings, home_from_environment("metrics", settings), gpus=find_gpus()).run()
