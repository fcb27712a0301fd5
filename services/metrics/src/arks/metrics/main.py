"""metrics: wiring."""

from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.app import App
from arks.kit.home import Home, home_from_environment
from arks.metrics.adapters import HttpEngines, NatsReports
from arks.metrics.api import ReplicaGauges, follow
from arks.metrics.config import Settings
from arks.metrics.service import Collector, Engines, Reports


def build(settings: Settings, home: Home, engines: Engines | None = None, reports: Reports | None = None) -> App:
    """The whole service on the given home (one machine, Kubernetes, or a test's)."""
    http = HttpEngines(settings, home.registry)
    collector = Collector(
        engines=engines or http,
        reports=reports or NatsReports(home.bus, home.clock, home.registry),
        clock=home.clock,
        settings=settings,
    )
    follow(home.facts(Facts.REPLICAS, ReplicasFact).cache, collector)
    home.registry.register(ReplicaGauges(collector, home.clock))
    return App("metrics", home, tasks=[collector.run], starts=[http.start], stops=[http.stop])


if __name__ == "__main__":
    settings = Settings()
    build(settings, home_from_environment("metrics", settings)).run()
