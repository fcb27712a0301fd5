"""Build the parts of model-manager on one machine."""

from collections.abc import Mapping
from pathlib import Path

from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.facts import FactWriter
from arks.kit.home import Home
from arks.kit.resource_events import ResourceEvents
from arks.model_manager.adapters.local.downloads import Downloads
from arks.model_manager.adapters.local.process import DownloadProcesses
from arks.model_manager.adapters.local.storage import LocalStorage
from arks.model_manager.adapters.parts import Parts
from arks.model_manager.adapters.publisher import BusPublisher
from arks.model_manager.config import Settings
from arks.model_manager.domain.request import Limits


def local_parts(settings: Settings, home: Home, facts: FactWriter[ModelFact], environment: Mapping[str, str]) -> Parts:
    """`environment`: of the service; download processes get a few variables of it."""
    processes = DownloadProcesses(environment, silence_seconds=settings.silence_seconds)
    downloads = Downloads(processes, home.clock, home.registry, limit=settings.max_downloads, tracer=home.tracer)
    storage = LocalStorage(
        Path(settings.state_dir),
        downloads,
        Limits(settings.download_connections, settings.download_bytes_per_second, settings.disk_reserve_bytes),
    )
    return Parts(
        storage=storage,
        follow=storage.follow,
        publisher=BusPublisher(ResourceEvents(home.outbox), facts),
        secrets=home.secrets,
        check_seconds=settings.check_seconds,
        starts=[storage.sweep],
        stops=[downloads.close],
    )
