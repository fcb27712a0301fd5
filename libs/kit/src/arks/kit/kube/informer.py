"""Keeps a cache equal to objects of the API server: lists, watches, and resumes a watch that ended.

An object that cannot be read keeps its last value in the cache: it is not a deleted object. Objects of namespaces that
are not served count as absent.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from arks.kit.backoff import Backoff
from arks.kit.cache import Cache, Found
from arks.kit.errors import ArksError
from arks.kit.key import Key
from arks.kit.kube.api import Gone, KubeApi, key_of_object
from arks.kit.kube.kinds import Kind
from arks.kit.kube.namespaces import EveryNamespace, Namespaces
from arks.kit.types import Json

log = structlog.get_logger(__name__)

T = TypeVar("T")
_SLICE = 50
"""Objects of a list that are read without a pause: about 5 ms, so that a long list does not hold up requests."""


@dataclass(slots=True)
class _Gathered:
    """Changes of a namespace that is about to be served: the newest of each object."""

    lists: int
    changes: dict[Key, tuple[str, Json]] = field(default_factory=dict)


class Informer(Generic[T]):
    """`read` turns an object into its value in the cache; None leaves the object out. It may raise anything."""

    def __init__(
        self,
        api: KubeApi,
        kind: Kind,
        read: Callable[[Json], Found[T]],
        cache: Cache[T],
        *,
        namespace: str | None = None,
        labels: str = "",
    ) -> None:
        """`namespace`: the only one to watch; None: those that `api` serves."""
        self._api = api
        self._kind = kind
        self._read = read
        self._cache = cache
        cache.on_fault = lambda key, error: api.faults.failed(kind.plural, key, error)
        self._namespace = namespace
        self._labels = labels
        self._backoff = Backoff(first_seconds=0.1, longest_seconds=5.0)
        self._lists = 0
        """Lists that were begun."""
        self._gathered: dict[str, _Gathered] = {}
        self._namespaces: Namespaces = api.namespaces if kind.namespaced else EveryNamespace()
        self._namespaces.add(self)

    async def run(self) -> None:
        version, failures = "", 0
        await self._namespaces.known()
        while True:
            try:
                while not version:
                    version = await self._list()
                async for kind, obj in self._api.watch(self._kind, self._namespace, version, self._labels):
                    version = obj["metadata"]["resourceVersion"]
                    failures = 0
                    self._apply(kind, obj)
            except Gone:
                version = ""
            except ArksError as error:
                failures += 1
                log.warning("watch broke", resource=self._kind.plural, error=str(error))
                await asyncio.sleep(self._backoff.delay_seconds(failures))

    # --- namespaces that join and leave: see `Member`

    def gather(self, namespace: str) -> None:
        self._gathered[namespace] = _Gathered(self._lists)

    async def fetch(self, namespace: str) -> list[Json]:
        return (await self._api.list(self._kind, namespace, self._labels))[0]

    def is_complete(self, namespace: str) -> bool:
        return self._gathered[namespace].lists == self._lists

    def admit(self, namespace: str, objects: list[Json]) -> None:
        gathered = self._gathered.pop(namespace)
        for obj in objects:
            self._apply("MODIFIED", obj)
        for kind, obj in gathered.changes.values():
            self._apply(kind, obj)

    def drop(self, namespace: str) -> None:
        self._gathered.pop(namespace, None)
        for key in self._cache.existing():
            if key.namespace == namespace:
                self._cache.apply(key, None)

    # --- lists and changes

    async def _list(self) -> str:
        """Returns the version to watch from; empty if other namespaces are served now than at its begin."""
        version, changes = "", self._namespaces.changes
        self._lists += 1

        async def listed() -> AsyncIterator[tuple[Key, Found[T]]]:
            nonlocal version
            async for page in self._api.pages(self._kind, self._namespace, self._labels):
                objects, version = page
                for number, obj in enumerate(objects, 1):
                    if self._namespaces.serves(key_of_object(obj).namespace):
                        yield self._found(obj)
                    if number % _SLICE == 0:
                        await asyncio.sleep(0)

        await self._cache.load(listed(), lambda key: self._namespaces.joined_after(key.namespace, changes))
        return version if changes == self._namespaces.changes else ""

    def _apply(self, kind: str, obj: Json) -> None:
        if kind == "BOOKMARK":
            return
        key = key_of_object(obj)
        if key.namespace in self._gathered:
            self._gathered[key.namespace].changes[key] = (kind, obj)
        elif self._namespaces.serves(key.namespace):
            self._store(kind, obj)

    def _store(self, kind: str, obj: Json) -> None:
        if kind == "DELETED":
            self._cache.apply(key_of_object(obj), None)
        else:
            self._cache.apply(*self._found(obj))

    def _found(self, obj: Json) -> tuple[Key, Found[T]]:
        key: Key = key_of_object(obj)
        return key, self._api.faults.read(self._kind.plural, key, lambda: self._read(obj))
