"""app-deployer: wiring."""

import os
from collections.abc import Mapping

from arks.app_deployer.adapters.announcer import BusAnnouncer
from arks.app_deployer.adapters.platform import Platform, local_platform
from arks.app_deployer.api import Watch
from arks.app_deployer.config import Settings
from arks.app_deployer.disaggregated import DisaggregatedDeployer
from arks.app_deployer.lifecycle import ModelViews
from arks.app_deployer.service import AppDeployer
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact
from arks.kit.app import App
from arks.kit.home import Home
from arks.kit.start import home_from_environment


def build(settings: Settings, home: Home, environment: Mapping[str, str] | None = None) -> App:
    """The whole service on the given home. `environment`: what engines get of ours."""
    platform = _platform(settings, home, environment or {})
    applications, disaggregated = home.resources(ArksApplication), home.resources(ArksDisaggregatedApplication)
    models = home.facts(Facts.MODELS, ModelFact).cache
    announcer = BusAnnouncer(
        home.bus, home.fact_writer(Facts.REPLICAS, ReplicasFact), home.clock, notice=platform.notice
    )
    views = ModelViews(models, home.clock)
    deployer = AppDeployer(
        applications=applications,
        models=views,
        workloads=platform.workloads,
        announcer=announcer,
        clock=home.clock,
        grace_seconds=settings.grace_seconds,
    )
    others = DisaggregatedDeployer(
        applications=disaggregated,
        taken=lambda key: applications.cache.get(key) is not None,
        models=views,
        stages=platform.stages,
        announcer=announcer,
        clock=home.clock,
    )
    watch = Watch(
        deployer,
        others,
        applications=applications,
        disaggregated=disaggregated,
        models=models,
        workloads=platform.workloads,
        stages=platform.stages,
        announcer=announcer,
        clock=home.clock,
        leading=home.leading,
    )
    return App(
        "app-deployer",
        home,
        controllers=watch.controllers,
        tasks=[*platform.runs, watch.first_pass],
        starts=platform.starts,
        stops=platform.stops,
    )


def _platform(settings: Settings, home: Home, environment: Mapping[str, str]) -> Platform:
    if settings.platform == "local":
        return local_platform(settings, home, environment)
    from arks.app_deployer.adapters.kube.platform import kube_platform  # noqa: PLC0415  # 70 MB only where needed
    from arks.kit.kube.home import KubeHome  # noqa: PLC0415

    if not isinstance(home, KubeHome):
        raise TypeError("settings.platform is kubernetes, so the home must be a KubeHome")
    return kube_platform(settings, home.api, home.clock, home.registry)


if __name__ == "__main__":
    settings = Settings()
    build(settings, home_from_environment("app-deployer", settings), os.environ).run()
