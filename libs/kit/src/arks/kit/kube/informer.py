"""Keeps a cache equal to objects of the API server: lists, watches, and resumes a watch that ended.

An object that cannot be read keeps its last value in the cache: it is not a deleted object.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import structlog

from arks.kit.backoff import Backoff
from arks.kit.cache import Cache, Found
from arks.kit.errors import ArksError
from arks.kit.key import Key
from arks.kit.kube.api import Gone, KubeApi, key_of_object
from arks.kit.kube.kinds import Kind
from arks.kit.types import Json

log = structlog.get_logger(__name__)

T = TypeVar("T")
_SLICE = 50
"""Objects of a list that are read without a pause: about 5 ms, so that a long list does not hold up requests."""


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
        self._api = api
        self._kind = kind
        self._read = read
        self._cache = cache
        cache.on_fault = lambda key, error: api.faults.failed(kind.plural, key, error)
        self._namespace = namespace
        self._labels = labels
        self._backoff = Backoff(first_seconds=0.1, longest_seconds=5.0)

    async def run(self) -> None:
        version, failures = "", 0
        while True:
            try:
                version = version or await self._list()
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

    async def _list(self) -> str:
        version = ""

        async def listed() -> AsyncIterator[tuple[Key, Found[T]]]:
            nonlocal version
            async for page in self._api.pages(self._kind, self._namespace, self._labels):
                objects, version = page
                for number, obj in enumerate(objects, 1):
                    yield self._found(obj)
                    if number % _SLICE == 0:
                        await asyncio.sleep(0)

        await self._cache.load(listed())
        return version

    def _apply(self, kind: str, obj: Json) -> None:
        if kind == "BOOKMARK":
            return
        if kind == "DELETED":
            self._cache.apply(key_of_object(obj), None)
        else:
            self._cache.apply(*self._found(obj))

    def _found(self, obj: Json) -> tuple[Key, Found[T]]:
        key: Key = key_of_object(obj)
        return key, self._api.faults.read(self._kind.plural, key, lambda: self._read(obj))
