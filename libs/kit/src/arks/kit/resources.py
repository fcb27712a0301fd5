"""Stores resources on one machine in the JetStream bucket arks-resources, by the rules of the API server.

Services rely on these rules: the generation rises only if something other than metadata and status changes; status is
written apart from spec; deleting a resource with finalizers sets its deletionTimestamp, and removing the last finalizer
deletes it; concurrent writers retry on conflict.
"""

import json
import uuid
from collections.abc import Callable
from enum import StrEnum
from typing import Generic, TypeVar

import nats.js.errors
from nats.js.kv import KeyValue
from pydantic import BaseModel

from arks.contracts.resources import Resource
from arks.contracts.subjects import RESOURCES_BUCKET, encode, resource_key
from arks.kit.buckets import BucketWatch, key_of_fact
from arks.kit.bus import NATS_ERRORS, Bus
from arks.kit.cache import Cache, Found, Unreadable
from arks.kit.clock import Clock, SystemClock
from arks.kit.errors import Conflict, Unavailable
from arks.kit.key import Key, key_of
from arks.kit.reading import read_record, read_resource, with_fault
from arks.kit.types import Json

R = TypeVar("R", bound=Resource)
T = TypeVar("T")
_TRIES = 8


class Applied(StrEnum):
    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


class LocalResources(Generic[R]):
    """All resources of one kind. Readers use `cache`; it is current while `run` runs."""

    def __init__(self, bus: Bus, kind: type[R], clock: Clock | None = None) -> None:
        self.kind = kind
        self.cache: Cache[R] = Cache()
        self._bus = bus
        self._clock = clock or SystemClock()
        self._watch = self._watch_with(self.cache, self._read)

    def _read(self, obj: Json) -> R | Unreadable[R]:
        metadata = obj["metadata"]
        last = self.cache.get(Key(metadata["namespace"], metadata["name"]))
        return read_resource(self.kind, obj, last)

    def watch(self, cache: Cache[T], keep: Callable[[R], T]) -> BucketWatch[T]:
        """A watch that fills `cache` with what `keep` makes of each resource. `keep` may raise anything."""
        return self._watch_with(cache, lambda obj: read_record(self.kind, obj, keep))

    def _watch_with(self, cache: Cache[T], read_object: Callable[[Json], Found[T]]) -> BucketWatch[T]:
        def read(entry: KeyValue.Entry) -> Found[T]:
            stored = json.loads(entry.value or b"")
            return read_object(_with_metadata(stored, resourceVersion=str(entry.revision or 0)))

        pattern = f"{encode(self.kind.plural)}.>"
        return BucketWatch(self._bus, RESOURCES_BUCKET, pattern, read_key=_key, read=read, cache=cache)

    async def run(self) -> None:
        await self._watch.run()

    # --- for the service that owns the kind

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        """Replace the status. Does nothing if it is unchanged or the resource does not exist."""
        status = with_fault(status, self.cache.get(key), self.cache.unreadable(key), self._clock.now())
        desired = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        await self._change(key, lambda stored: stored | {"status": desired})

    async def add_finalizer(self, key: Key, finalizer: str) -> None:
        def change(stored: Json) -> Json:
            finalizers = stored["metadata"].get("finalizers", [])
            if finalizer in finalizers or stored["metadata"].get("deletionTimestamp"):
                return stored
            return _with_metadata(stored, finalizers=[*finalizers, finalizer])

        await self._change(key, change)

    async def remove_finalizer(self, key: Key, finalizer: str) -> None:
        def change(stored: Json) -> Json | None:
            remaining = [name for name in stored["metadata"].get("finalizers", []) if name != finalizer]
            if not remaining and stored["metadata"].get("deletionTimestamp"):
                return None
            return _with_metadata(stored, finalizers=remaining)

        await self._change(key, change)

    # --- for the arks command

    async def read(self, key: Key) -> R | None:
        """Return the newest state from the bucket, or None. Raises Unavailable."""
        found = await self._load(key)
        return None if found is None else self._parse(*found)

    async def apply(self, resource: R) -> Applied:
        """Create the resource, or replace its spec and keep its status. Raises Unavailable, Conflict."""
        key, desired = key_of(resource), _dump(resource)
        outcome = Applied.UNCHANGED

        def change(stored: Json) -> Json:
            nonlocal outcome
            merged = _merge(stored, desired)
            outcome = Applied.UNCHANGED if merged == stored else Applied.CONFIGURED
            return merged

        if not await self._change(key, change):
            return await self._create(key, desired)
        return outcome

    async def delete(self, key: Key) -> bool:
        """Delete it, or mark it as deleted if it has finalizers. Returns False if it does not exist."""

        def change(stored: Json) -> Json | None:
            if not stored["metadata"].get("finalizers"):
                return None
            if stored["metadata"].get("deletionTimestamp"):
                return stored
            return _with_metadata(stored, deletionTimestamp=self._now())

        return await self._change(key, change)

    # --- the bucket

    async def _create(self, key: Key, desired: Json) -> Applied:
        created = _with_metadata(desired, uid=str(uuid.uuid4()), creationTimestamp=self._now(), generation=1)
        try:
            bucket = await self._bus.bucket(RESOURCES_BUCKET)
            await bucket.create(self._raw(key), json.dumps(created).encode())
        except nats.js.errors.KeyWrongLastSequenceError as error:
            raise Conflict(
                f"{self.kind.__name__} {key} was created by another writer at the same moment; apply again"
            ) from error
        except NATS_ERRORS as error:
            raise self._unavailable(key, error) from error
        return Applied.CREATED

    async def _change(self, key: Key, change: Callable[[Json], Json | None]) -> bool:
        """Read, change, write back; repeat if another writer was faster. False if the resource does not exist.

        `change` returns None to delete it.
        """
        for _ in range(_TRIES):
            found = await self._load(key)
            if found is None:
                return False
            stored, revision = found
            changed = change(stored)
            if changed == stored:
                return True
            try:
                await self._store(key, changed, revision)
            except nats.js.errors.KeyWrongLastSequenceError:
                continue
            except nats.js.errors.APIError as error:
                if error.err_code in {10071, 10164}:  # wrong last sequence, on delete
                    continue
                raise self._unavailable(key, error) from error
            except NATS_ERRORS as error:
                raise self._unavailable(key, error) from error
            return True
        raise Conflict(f"{self.kind.__name__} {key} kept changing while it was written ({_TRIES} tries)")

    async def _load(self, key: Key) -> tuple[Json, int] | None:
        try:
            bucket = await self._bus.bucket(RESOURCES_BUCKET)
            entry = await bucket.get(self._raw(key))
        except nats.js.errors.KeyNotFoundError:
            return None
        except NATS_ERRORS as error:
            raise self._unavailable(key, error) from error
        return json.loads(entry.value or b"{}"), entry.revision or 0

    async def _store(self, key: Key, changed: Json | None, revision: int) -> None:
        bucket = await self._bus.bucket(RESOURCES_BUCKET)
        if changed is None:
            await bucket.delete(self._raw(key), last=revision)
        else:
            await bucket.update(self._raw(key), json.dumps(changed).encode(), last=revision)

    def _unavailable(self, key: Key, error: Exception) -> Unavailable:
        self._bus.forget_bucket(RESOURCES_BUCKET)
        return Unavailable(f"{self.kind.__name__} {key}: NATS does not answer: {error or type(error).__name__}")

    def _raw(self, key: Key) -> str:
        return resource_key(self.kind.plural, key.namespace, key.name)

    def _now(self) -> str:
        return self._clock.now().isoformat(timespec="seconds").replace("+00:00", "Z")

    def _parse(self, stored: Json, revision: int) -> R:
        return self.kind.from_stored(_with_metadata(stored, resourceVersion=str(revision)))


class LocalRecords(Generic[T]):
    """What `keep` makes of each resource of one kind: for kinds of which there are too many to hold whole."""

    def __init__(self, resources: LocalResources[R], keep: Callable[[R], T]) -> None:
        self.cache: Cache[T] = Cache()
        self.run = resources.watch(self.cache, keep).run
        self.patch_status = resources.patch_status


def _key(raw: str) -> Key:
    return key_of_fact(raw.partition(".")[2])


def _dump(resource: Resource) -> Json:
    dumped = resource.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    dumped.pop("status", None)
    metadata = {
        name: value
        for name, value in dumped.get("metadata", {}).items()
        if name in {"labels", "annotations", "finalizers"}
    }
    metadata |= {"name": resource.metadata.name, "namespace": resource.metadata.namespace}
    return dumped | {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


def _with_metadata(stored: Json, **changes: object) -> Json:
    return stored | {"metadata": stored["metadata"] | changes}


def _merge(stored: Json, desired: Json) -> Json:
    """Return `stored` with the spec, labels and annotations of `desired`, and a new generation if it changed."""
    own = {"metadata", "status"}
    merged = {name: value for name, value in desired.items() if name not in own}
    changed = merged != {name: value for name, value in stored.items() if name not in own}
    metadata = stored["metadata"] | {
        name: desired["metadata"].get(name, {})
        for name in ("labels", "annotations")
        if name in (stored["metadata"] | desired["metadata"])
    }
    if changed:
        metadata["generation"] = stored["metadata"].get("generation", 0) + 1
    status = {"status": stored["status"]} if "status" in stored else {}
    return merged | {"metadata": metadata} | status
