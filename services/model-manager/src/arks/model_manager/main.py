"""model-manager: wiring."""

import os
from collections.abc import Mapping
from pathlib import Path

from arks.contracts.resources import ArksModel
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.app import App
from arks.kit.home import Home, home_from_environment
from arks.model_manager.adapters.announcer import BusAnnouncer
from arks.model_manager.adapters.loads import Loads
from arks.model_manager.adapters.local import LocalStorage
from arks.model_manager.adapters.metrics import ModelCollector
from arks.model_manager.api import watch
from arks.model_manager.config import Settings
from arks.model_manager.service import ModelManager, Pace


def build(settings: Settings, home: Home, environment: Mapping[str, str] | None = None) -> App:
    """The whole service on the given home. `environment`: of which download processes get what concerns them."""
    loads = Loads(
        home.clock,
        home.registry,
        environment or {},
        limit=settings.max_downloads,
        silence_seconds=settings.silence_seconds,
    )
    storage = LocalStorage(
        Path(settings.state_dir),
        loads,
        connections=settings.download_connections,
        reserve_bytes=settings.disk_reserve_bytes,
    )
    models = home.resources(ArksModel)
    manager = ModelManager(
        models=models,
        storage=storage,
        secrets=home.secrets,
        announcer=BusAnnouncer(home.bus, home.fact_writer(Facts.MODELS, ModelFact), home.clock),
        clock=home.clock,
        pace=Pace(settings.check_seconds, settings.progress_seconds, settings.progress_event_seconds),
        default_endpoint=settings.hub_endpoint,
    )
    controller, loads.changed = watch(manager, models, home.clock)
    home.registry.register(ModelCollector(manager.statuses))
    return App(
        "model-manager",
        home,
        controllers=[controller],
        tasks=[manager.announce_complete],
        starts=[storage.sweep],
        stops=[loads.close],
    )


if __name__ == "__main__":
    settings = Settings()
    build(settings, home_from_environment("model-manager", settings), os.environ).run()
