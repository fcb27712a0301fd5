"""Custom resources on Kubernetes, with the same methods as LocalResources."""

from collections.abc import Callable
from typing import Generic, TypeVar

from pydantic import BaseModel

from arks.contracts.resources import Resource
from arks.kit.cache import Cache, Found, Unreadable
from arks.kit.clock import Clock, SystemClock
from arks.kit.errors import Conflict, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import Kind
from arks.kit.reading import read_record, read_resource, with_fault
from arks.kit.types import Json

R = TypeVar("R", bound=Resource)
T = TypeVar("T")
_TRIES = 8
OnUnreadable = Callable[[Kind, Json, str], None]
"""Called with the kind, an object of it that cannot be read, and the fault. It must not block."""
_Change = Callable[[list[str], bool], list[str]]
"""(finalizers, whether it is being deleted) -> finalizers."""


def kind_of(resource: type[Resource]) -> Kind:
    return Kind(resource.group, resource.version, resource.__name__, resource.plural)


class KubeResources(Generic[R]):
    """All resources of one kind, in one namespace or in all. Readers use `cache`; it is current while `run` runs."""

    def __init__(
        self,
        api: KubeApi,
        kind: type[R],
        namespace: str | None = None,
        *,
        on_unreadable: OnUnreadable = lambda kind, obj, fault: None,
        clock: Clock | None = None,
    ) -> None:
        self.kind = kind
        self.cache: Cache[R] = Cache()
        self._api = api
        self._kind = kind_of(kind)
        self._on_unreadable = on_unreadable
        self._clock = clock or SystemClock()
        self.run = Informer(api, self._kind, self._read, self.cache, namespace=namespace).run

    def _read(self, obj: Json) -> R | Unreadable[R]:
        found = read_resource(self.kind, _slim(obj), self.cache.get(key_of_object(obj)))
        if isinstance(found, Unreadable):
            self._on_unreadable(self._kind, obj, found.fault)
        return found

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        """Replace the status. Does nothing if it is unchanged or the resource does not exist."""
        known = self.cache.get(key)
        status = with_fault(status, known, self.cache.unreadable(key), self._clock.now())
        desired = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        current = getattr(known, "status", None)
        if current is not None:
            current_fields = current.model_dump(mode="json", by_alias=True, exclude_none=True)
            if current_fields == desired:
                return
            desired = merge_patch(current_fields, desired)
        try:
            await self._api.merge(self._kind, key, {"status": desired}, subresource="status")
        except NotFound:
            return

    async def add_finalizer(self, key: Key, finalizer: str) -> None:
        def change(finalizers: list[str], deleting: bool) -> list[str]:
            return finalizers if deleting or finalizer in finalizers else [*finalizers, finalizer]

        await self._change_finalizers(key, change)

    async def remove_finalizer(self, key: Key, finalizer: str) -> None:
        def change(finalizers: list[str], _: bool) -> list[str]:
            return [name for name in finalizers if name != finalizer]

        await self._change_finalizers(key, change)

    async def _change_finalizers(self, key: Key, change: _Change) -> None:
        """Change the cached version; on a conflict, read the newest version and retry. The object itself need not be
        readable: nothing but its metadata is used.
        """
        known = self.cache.get(key)
        metadata = known.metadata.model_dump(mode="json", by_alias=True, exclude_none=True) if known else None
        for _ in range(_TRIES):
            if metadata is None:
                found = await self._api.get(self._kind, key)
                if found is None:
                    return
                metadata = found["metadata"]
            finalizers, version = metadata.get("finalizers", []), metadata["resourceVersion"]
            desired = change(finalizers, "deletionTimestamp" in metadata)
            if desired == finalizers:
                return
            metadata, patch = None, {"metadata": {"finalizers": desired, "resourceVersion": version}}
            try:
                await self._api.merge(self._kind, key, patch)
            except NotFound:
                return
            except Conflict:
                continue
            return
        raise Conflict(f"{self.kind.__name__} {key} kept changing while it was written ({_TRIES} tries)")


class KubeRecords(Generic[T]):
    """What `keep` makes of each resource of one kind: for kinds of which there are too many to hold whole."""

    def __init__(
        self,
        api: KubeApi,
        kind: type[R],
        keep: Callable[[R], T],
        namespace: str | None = None,
        *,
        on_unreadable: OnUnreadable = lambda kind, obj, fault: None,
        clock: Clock | None = None,
    ) -> None:
        self.cache: Cache[T] = Cache()
        self._api = api
        self._kind = kind_of(kind)
        self._clock = clock or SystemClock()

        def read(obj: Json) -> Found[T]:
            found = read_record(kind, _slim(obj), keep)
            if isinstance(found, Unreadable):
                on_unreadable(self._kind, obj, found.fault)
            return found

        self.run = Informer(api, self._kind, read, self.cache, namespace=namespace).run

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        """Replace the status. Does nothing if it is unchanged or the resource does not exist."""
        status = with_fault(status, None, self.cache.unreadable(key), self._clock.now())
        desired = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        try:
            await self._api.replace_status(self._kind, key, desired)
        except NotFound:
            return


def _slim(obj: Json) -> Json:
    obj["metadata"].pop("managedFields", None)  # half of an object's size, and unused
    return obj


def merge_patch(before: Json, after: Json) -> Json:
    """Return the JSON merge patch that turns `before` into `after`: removed fields, at any depth, become null."""
    removed: Json = {name: None for name in before if name not in after}
    return removed | {name: _merged(before.get(name), value) for name, value in after.items()}


def _merged(before: object, after: object) -> object:
    return merge_patch(before, after) if isinstance(before, dict) and isinstance(after, dict) else after
