"""Objects of an API server that informers follow, without the server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar, cast

from prometheus_client import CollectorRegistry, Counter

from arks.kit.cache import Cache, Found
from arks.kit.faults import Faults
from arks.kit.kube.api import KubeApi, Page
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import POD
from arks.kit.kube.namespaces import EveryNamespace
from arks.kit.types import Json

T = TypeVar("T")


class FakeObjects:
    """Lists the objects that it has, then yields the given changes and stays silent."""

    def __init__(self, *objects: Json) -> None:
        self.registry = CollectorRegistry()
        self.faults = Faults(Counter("unreadable", "", ["resource"], registry=self.registry))
        self.namespaces = EveryNamespace()
        self.objects = list(objects)
        self.changes: list[tuple[str, Json]] = []
        self.drained = asyncio.Event()

    async def pages(self, *_: object) -> AsyncIterator[Page]:
        yield self.objects, "1"

    async def watch(self, *_: object) -> AsyncIterator[tuple[str, Json]]:
        for change in self.changes:
            yield change
        self.drained.set()
        await asyncio.Event().wait()

    @property
    def unreadable(self) -> float | None:
        return self.registry.get_sample_value("unreadable_total", {"resource": "pods"})

    async def follow(self, read: Callable[[Json], Found[T]], cache: Cache[T]) -> None:
        """Run an informer until it has read everything. Raises what ends it before that."""
        running = asyncio.create_task(Informer(cast("KubeApi", self), POD, read, cache).run())
        waiting = asyncio.create_task(self.drained.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
