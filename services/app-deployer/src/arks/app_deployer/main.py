"""app-deployer: wiring."""

import os
from collections.abc import Mapping

from arks.app_deployer.adapters.announcer import BusAnnouncer
from arks.app_deployer.adapters.local import LocalWorkloads
from arks.app_deployer.adapters.metrics import EngineMeters, ReplicaGauges
from arks.app_deployer.adapters.probe import HttpProbe
from arks.app_deployer.api import Watch
from arks.app_deployer.config import Settings
from arks.app_deployer.service import AppDeployer
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact
from arks.kit.app import App
from arks.kit.home import Home, home_from_environment


def build(settings: Settings, home: Home, environment: Mapping[str, str] | None = None) -> App:
    """The whole service on the given home. `environment`: what engines get of ours."""
    probe = HttpProbe(health_seconds=settings.health_seconds, answer_seconds=settings.answer_seconds)
    workloads = LocalWorkloads(
        settings,
        probe=probe,
        clock=home.clock,
        meters=EngineMeters(home.registry),
        environment=environment or {},
    )
    home.registry.register(ReplicaGauges(workloads.observed))
    applications, disaggregated = home.resources(ArksApplication), home.resources(ArksDisaggregatedApplication)
    models = home.facts(Facts.MODELS, ModelFact).cache
    announcer = BusAnnouncer(home.bus, home.fact_writer(Facts.REPLICAS, ReplicasFact), home.clock)
    deployer = AppDeployer(
        applications=applications,
        disaggregated=disaggregated,
        models=models,
        workloads=workloads,
        announcer=announcer,
        clock=home.clock,
        grace_seconds=settings.grace_seconds,
    )
    watch = Watch(
        deployer,
        applications=applications,
        disaggregated=disaggregated,
        models=models,
        workloads=workloads,
        announcer=announcer,
        clock=home.clock,
    )
    return App(
        "app-deployer",
        home,
        controllers=watch.controllers,
        tasks=[watch.first_pass],
        starts=[probe.start, workloads.start],
        stops=[probe.close, workloads.close],
    )


if __name__ == "__main__":
    settings = Settings()
    build(settings, home_from_environment("app-deployer", settings), os.environ).run()
