"""model-manager: wiring."""

import os
from collections.abc import Mapping

from arks.contracts.resources import ArksModel
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.app import App
from arks.kit.home import Home, Resources
from arks.kit.reconcile import Controller, FirstPass
from arks.kit.start import home_from_environment
from arks.kit.types import AsyncCallable
from arks.model_manager.adapters.local.wiring import local_parts
from arks.model_manager.adapters.metrics import ModelCollector
from arks.model_manager.adapters.parts import Parts
from arks.model_manager.config import Settings
from arks.model_manager.service.manager import ModelManager, Timings
from arks.model_manager.service.node_caches import NodeCaches


def build(settings: Settings, home: Home, environment: Mapping[str, str] | None = None) -> App:
    """The whole service on a home. `environment`: download processes get a few variables of it."""
    models = home.resources(ArksModel)
    parts = _parts(settings, home, models, environment or {})
    caches = _node_caches(settings, home, models, parts)
    manager = ModelManager(
        models=models,
        storage=parts.storage,
        secrets=parts.secrets,
        publisher=parts.publisher,
        clock=home.clock,
        timings=Timings(parts.check_seconds, settings.progress_seconds, settings.progress_event_seconds),
        default_endpoint=settings.hub_endpoint,
        caches=caches,
    )
    first_pass = FirstPass(models.cache.existing, parts.publisher.complete_facts, parts.publisher.keep_fact)
    controller = Controller("models", manager.reconcile, clock=home.clock, tracer=home.tracer, first_pass=first_pass)
    models.cache.subscribe(controller.enqueue)
    manager.connect(controller.enqueue)
    parts.follow(manager.storage_changed)
    if caches is not None:
        caches.changed = controller.enqueue
    home.registry.register(ModelCollector(manager.statuses))
    return App(
        "model-manager",
        home,
        controllers=[controller],
        tasks=[*parts.tasks, *([_when_leading(home, caches.run)] if caches is not None else [])],
        starts=parts.starts,
        stops=parts.stops,
    )


def _node_caches(settings: Settings, home: Home, models: Resources[ArksModel], parts: Parts) -> NodeCaches | None:
    if parts.caches is None:
        return None
    return NodeCaches(
        parts.caches,
        models.cache,
        home.clock,
        path_of=parts.path_of,
        default_endpoint=settings.hub_endpoint,
        seconds=settings.node_cache_seconds,
    )


def _when_leading(home: Home, run: AsyncCallable) -> AsyncCallable:
    async def wait() -> None:
        await home.leading()
        await home.synced()
        await run()

    return wait


def _parts(settings: Settings, home: Home, models: Resources[ArksModel], environment: Mapping[str, str]) -> Parts:
    facts = home.fact_writer(Facts.MODELS, ModelFact)
    if home.kube is not None:
        from arks.model_manager.adapters.kubernetes.wiring import kube_parts  # noqa: PLC0415  # 70 MB of client

        return kube_parts(settings, home.kube, models.cache, facts)
    return local_parts(settings, home, facts, environment)


if __name__ == "__main__":
    settings = Settings()
    build(settings, home_from_environment("model-manager", settings), os.environ).run()
