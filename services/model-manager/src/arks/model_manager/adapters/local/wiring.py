"""Build the parts of model-manager on one machine."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog

from arks.contracts.quantities import human_bytes
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

log = structlog.get_logger(__name__)


def local_parts(settings: Settings, home: Home, facts: FactWriter[ModelFact], environment: Mapping[str, str]) -> Parts:
    """`environment`: of the service; download processes get a few variables of it."""
    processes = DownloadProcesses(environment, silence_seconds=settings.silence_seconds)
    downloads = Downloads(processes, home.clock, home.registry, limit=settings.max_downloads, tracer=home.tracer)
    storage = LocalStorage(Path(settings.state_dir), downloads, settings.limits())
    return Parts(
        storage=storage,
        follow=storage.follow,
        publisher=BusPublisher(ResourceEvents(home.outbox), facts),
        secrets=home.secrets,
        check_seconds=settings.check_seconds,
        starts=[storage.sweep],
        tasks=[lambda: _watch_disk(storage, settings.check_seconds)],
        stops=[downloads.close],
    )


async def _watch_disk(storage: LocalStorage, interval_seconds: float) -> None:
    """Other programs fill the disk, too: the bus, the ledger, and whatever else runs here."""
    while True:
        await asyncio.sleep(interval_seconds)
        if freed := await storage.collect():
            log.info("content that no model uses deleted", freed=human_bytes(freed))
