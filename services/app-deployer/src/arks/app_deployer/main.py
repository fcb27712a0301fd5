"""app-deployer: wiring."""

import os
from collections.abc import Mapping

from arks.app_deployer.adapters.announcer import BusAnnouncer
from arks.app_deployer.adapters.local.wiring import local_parts
from arks.app_deployer.adapters.parts import Parts
from arks.app_deployer.adapters.stuck_reports import subscribe_stuck
from arks.app_deployer.config import Settings
from arks.app_deployer.service.applications import ApplicationController
from arks.app_deployer.service.controller import ModelViews
from arks.app_deployer.service.disaggregated import DisaggregatedController
from arks.app_deployer.service.engine_uses import EngineUses
from arks.app_deployer.service.scaling import Scaling
from arks.app_deployer.service.triggers import Triggers
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact, ScalingFact
from arks.kit.app import App
from arks.kit.home import Home
from arks.kit.start import home_from_environment

REPAIRED = "Repaired"
"""Reason of the Kubernetes Event after another writer's change of a child was set back."""


def build(settings: Settings, home: Home, environment: Mapping[str, str] | None = None) -> App:
    """The whole service on the given home. `environment`: what engines get of ours."""
    parts = _parts(settings, home, environment or {})
    applications, disaggregated = home.resources(ArksApplication), home.resources(ArksDisaggregatedApplication)
    models = home.facts(Facts.MODELS, ModelFact).cache
    announcer = BusAnnouncer(home.outbox, home.fact_writer(Facts.REPLICAS, ReplicasFact), notice=parts.notice)
    views = ModelViews(models, home.clock)
    scaling = Scaling(home.facts(Facts.SCALING, ScalingFact).cache)
    uses = EngineUses(parts.probe)
    deployer = ApplicationController(
        applications=applications,
        models=views,
        workloads=parts.workloads,
        announcer=announcer,
        clock=home.clock,
        grace_seconds=settings.grace_seconds,
        scaling=scaling,
        uses=uses,
        write_replicas=parts.write_replicas,
        hardware=parts.hardware,
    )
    others = DisaggregatedController(
        applications=disaggregated,
        name_taken=applications.cache.exists,
        models=views,
        workloads=parts.disaggregated_workloads,
        announcer=announcer,
        clock=home.clock,
        scaling=scaling,
    )
    watch = Triggers(
        deployer,
        others,
        applications=applications,
        disaggregated=disaggregated,
        models=models,
        scaling=scaling,
        workloads=parts.workloads,
        disaggregated_workloads=parts.disaggregated_workloads,
        uses=uses,
        announcer=announcer,
        clock=home.clock,
        tracer=home.tracer,
    )

    async def listen() -> None:
        await subscribe_stuck(home.bus, parts.workloads.end_stuck)

    return App(
        "app-deployer",
        home,
        controllers=watch.controllers,
        tasks=[*parts.runs, uses.run],
        starts=[*parts.starts, listen],
        stops=parts.stops,
    )


def _parts(settings: Settings, home: Home, environment: Mapping[str, str]) -> Parts:
    if home.kube is None:
        return local_parts(settings, home, environment)
    from arks.app_deployer.adapters.kubernetes.wiring import kubernetes_parts  # noqa: PLC0415  # 70 MB only where needed

    events = home.kube.event_queue
    return kubernetes_parts(
        settings,
        home.kube.api,
        home.clock,
        home.registry,
        notice=events.put,
        on_repair=lambda owner, what: events.put_on(owner, REPAIRED, what, warning=True),
    )


if __name__ == "__main__":
    settings = Settings()
    build(settings, home_from_environment("app-deployer", settings), os.environ).run()
