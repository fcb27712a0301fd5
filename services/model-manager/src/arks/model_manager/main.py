"""model-manager: wiring."""

import os
from collections.abc import Mapping
from pathlib import Path

from arks.contracts.resources import ArksModel
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.app import App
from arks.kit.home import Home, Resources
from arks.kit.start import home_from_environment
from arks.model_manager.adapters.announcer import BusAnnouncer
from arks.model_manager.adapters.loads import Loads
from arks.model_manager.adapters.local import LocalStorage
from arks.model_manager.adapters.metrics import ModelCollector
from arks.model_manager.adapters.parts import Parts
from arks.model_manager.api import watch
from arks.model_manager.config import Settings
from arks.model_manager.service import ModelManager, Pace


def build(settings: Settings, home: Home, environment: Mapping[str, str] | None = None) -> App:
    """The whole service on the given home. `environment`: of which download processes get what concerns them."""
    models = home.resources(ArksModel)
    parts = _parts(settings, home, models, environment or {})
    manager = ModelManager(
        models=models,
        storage=parts.storage,
        secrets=parts.secrets,
        announcer=parts.announcer,
        clock=home.clock,
        pace=Pace(parts.check_seconds, settings.progress_seconds, settings.progress_event_seconds),
        default_endpoint=settings.hub_endpoint,
    )
    controller, changed = watch(manager, models, home.clock)
    parts.follow(changed)
    home.registry.register(ModelCollector(manager.statuses))
    return App(
        "model-manager",
        home,
        controllers=[controller],
        tasks=[manager.announce_complete, *parts.tasks],
        starts=parts.starts,
        stops=parts.stops,
    )


def _parts(settings: Settings, home: Home, models: Resources[ArksModel], environment: Mapping[str, str]) -> Parts:
    facts = home.fact_writer(Facts.MODELS, ModelFact)
    if settings.platform == "kubernetes":
        from arks.model_manager.adapters.kube.wiring import kube_parts  # noqa: PLC0415  # 70 MB of client

        return kube_parts(settings, home, models.cache, facts)
    limit, silence_seconds = settings.max_downloads, settings.silence_seconds
    loads = Loads(home.clock, home.registry, environment, limit=limit, silence_seconds=silence_seconds)
    storage = LocalStorage(
        Path(settings.state_dir),
        loads,
        connections=settings.download_connections,
        reserve_bytes=settings.disk_reserve_bytes,
    )
    return Parts(
        storage=storage,
        follow=storage.follow,
        announcer=BusAnnouncer(home.bus, facts, home.clock),
        secrets=home.secrets,
        check_seconds=settings.check_seconds,
        starts=[storage.sweep],
        stops=[loads.close],
    )


if __name__ == "__main__":
    settings = Settings()
    build(settings, home_from_environment("model-manager", settings), os.environ).run()
