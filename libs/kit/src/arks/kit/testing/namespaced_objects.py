"""Objects of several kinds in several namespaces, as an API server lists and watches them, without the server."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

from prometheus_client import CollectorRegistry, Counter

from arks.kit.faults import Faults
from arks.kit.kube.api import Gone, Page, key_of_object
from arks.kit.kube.kinds import NAMESPACE, Kind
from arks.kit.kube.namespaces import EveryNamespace, Namespaces
from arks.kit.types import Json


class NamespacedObjects:
    """Changes reach the watches at once. All its namespaces are selected: a selector is the server's part."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.faults = Faults(Counter("unreadable", "", ["resource"], registry=self.registry))
        self.namespaces: Namespaces = EveryNamespace()
        self.objects: dict[str, dict[tuple[str, str], Json]] = defaultdict(dict)
        self.lists: list[tuple[str, str | None]] = []
        """Every request of a list: resource and namespace (None: all)."""
        self.held = asyncio.Event()
        """Lists of single namespaces wait for it."""
        self.held.set()
        self._watches: dict[str, list[asyncio.Queue[tuple[str, Json] | None]]] = defaultdict(list)

    def put(self, kind: Kind, namespace: str, name: str) -> None:
        obj: Json = {"metadata": {"namespace": namespace, "name": name, "resourceVersion": "1"}}
        self.objects[kind.plural][namespace, name] = obj
        self._push(kind, "MODIFIED", obj)

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        self._push(kind, "DELETED", self.objects[kind.plural].pop((namespace, name)))

    def select(self, namespace: str) -> None:
        self.put(NAMESPACE, "", namespace)

    def deselect(self, namespace: str) -> None:
        self.remove(NAMESPACE, "", namespace)

    def break_watches(self, kind: Kind) -> None:
        """Their versions are too old, so they begin with a list again. They get no further change."""
        for queue in self._watches.pop(kind.plural, []):
            queue.put_nowait(None)

    def _push(self, kind: Kind, change: str, obj: Json) -> None:
        for queue in self._watches[kind.plural]:
            queue.put_nowait((change, obj))

    async def list(self, kind: Kind, namespace: str | None, labels: str = "", fields: str = "") -> Page:
        self.lists.append((kind.plural, namespace))
        found = list(self.objects[kind.plural].values())
        if namespace is not None:
            await self.held.wait()
        return [obj for obj in found if namespace in {None, key_of_object(obj).namespace}], "1"

    async def pages(self, kind: Kind, namespace: str | None, labels: str = "", fields: str = "") -> AsyncIterator[Page]:
        yield await self.list(kind, namespace, labels, fields)

    async def watch(
        self, kind: Kind, namespace: str | None, version: str, labels: str = ""
    ) -> AsyncIterator[tuple[str, Json]]:
        queue: asyncio.Queue[tuple[str, Json] | None] = asyncio.Queue()
        self._watches[kind.plural].append(queue)
        while (change := await queue.get()) is not None:
            yield change
        raise Gone("too old")
