"""The parts of model-manager on one machine."""

from collections.abc import Mapping
from pathlib import Path

from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.facts import FactWriter
from arks.kit.home import Home
from arks.model_manager.adapters.local.downloads import Loads
from arks.model_manager.adapters.local.storage import LocalStorage
from arks.model_manager.adapters.parts import Parts
from arks.model_manager.adapters.publisher import BusAnnouncer
from arks.model_manager.config import Settings


def local_parts(settings: Settings, home: Home, facts: FactWriter[ModelFact], environment: Mapping[str, str]) -> Parts:
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
