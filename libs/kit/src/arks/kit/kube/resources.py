"""Custom resources on Kubernetes, with the same methods as LocalResources."""

from collections.abc import Callable
from typing import Generic, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from arks.contracts.resources import Resource
from arks.kit.cache import Cache
from arks.kit.errors import Conflict, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import Kind
from arks.kit.kube.unreadable import explain
from arks.kit.types import Json

log = structlog.get_logger(__name__)

R = TypeVar("R", bound=Resource)
T = TypeVar("T")
_TRIES = 8
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
        on_unreadable: Callable[[Json, str], None] = lambda obj, fault: None,
    ) -> None:
        """`on_unreadable` is called with an object that cannot be read, and its fault. It must not block."""
        self.kind = kind
        self.cache: Cache[R] = Cache()
        self._api = api
        self._kind = kind_of(kind)
        read = _Reader(kind, _whole, on_unreadable)
        self.run = Informer(api, self._kind, read, self.cache, namespace=namespace).run

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        """Replace the status. Does nothing if it is unchanged or the resource does not exist."""
        desired = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        known = self.cache.get(key)
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
        """Change the cached version; on a conflict, read the newest version and retry."""
        known = self.cache.get(key)
        for _ in range(_TRIES):
            if known is None:
                found = await self._api.get(self._kind, key)
                if found is None:
                    return
                known = self.kind.from_stored(found)
            metadata, known = known.metadata, None
            desired = change(metadata.finalizers, metadata.deletion_timestamp is not None)
            if desired == metadata.finalizers:
                return
            patch = {"metadata": {"finalizers": desired, "resourceVersion": metadata.resource_version}}
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
        on_unreadable: Callable[[Json, str], None] = lambda obj, fault: None,
    ) -> None:
        """`on_unreadable`: as of KubeResources; also for a resource for which `keep` raises ValueError."""
        self.cache: Cache[T] = Cache()
        self._api = api
        self._kind = kind_of(kind)
        read = _Reader(kind, keep, on_unreadable)
        self.run = Informer(api, self._kind, read, self.cache, namespace=namespace).run

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        """Replace the status. Does nothing if it is unchanged or the resource does not exist."""
        desired = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        try:
            await self._api.replace_status(self._kind, key, desired)
        except NotFound:
            return


class _Reader(Generic[R, T]):
    """Reads objects of one kind into what `keep` makes of them; None for one that cannot be read."""

    def __init__(self, kind: type[R], keep: Callable[[R], T], on_unreadable: Callable[[Json, str], None]) -> None:
        self._resource = kind
        self._kind = kind_of(kind)
        self._keep = keep
        self._on_unreadable = on_unreadable

    def __call__(self, obj: Json) -> T | None:
        obj["metadata"].pop("managedFields", None)  # half of an object's size, and unused
        try:
            return self._keep(self._resource.from_stored(obj))
        except ValueError as error:
            fault = explain(error, self._resource) if isinstance(error, ValidationError) else str(error)
            log.warning("resource not understood", key=str(key_of_object(obj)), error=fault)
            self._on_unreadable({"apiVersion": self._kind.api_version, "kind": self._kind.kind, **obj}, fault)
            return None


def _whole(resource: R) -> R:
    return resource


def merge_patch(before: Json, after: Json) -> Json:
    """Return the JSON merge patch that turns `before` into `after`: removed fields, at any depth, become null."""
    removed: Json = {name: None for name in before if name not in after}
    return removed | {name: _merged(before.get(name), value) for name, value in after.items()}


def _merged(before: object, after: object) -> object:
    return merge_patch(before, after) if isinstance(before, dict) and isinstance(after, dict) else after
