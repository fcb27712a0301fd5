"""In-memory stand-ins for what a home offers. `test_fakes.py` runs one suite on both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from google.protobuf.message import Message
from pydantic import BaseModel

from arks.contracts.resources import Resource
from arks.contracts.subjects import EventKind, Facts
from arks.events.v1.events_pb2 import ResourceEvent
from arks.kit.bus import Bus
from arks.kit.cache import Cache, Unreadable
from arks.kit.clock import Clock
from arks.kit.facts import FactWriter
from arks.kit.key import Key, key_of

R = TypeVar("R", bound=Resource)
M = TypeVar("M", bound=Message)


class FakeResources(Generic[R]):
    """Resources of one kind, with the rules of a server for status and finalizers.

    `lagging`: writes do not show in `cache` until `catch_up`, as with a slow watch.
    """

    def __init__(self, *resources: R, lagging: bool = False) -> None:
        self.cache: Cache[R] = Cache()
        self.lagging = lagging
        self.statuses: list[Any] = []
        """Every status that was written, in order; a repeated one too. Each kind has a type of its own."""
        self.released: list[tuple[Key, str]] = []
        """Every finalizer that was removed."""
        self._stored: dict[Key, R] = {}
        for resource in resources:
            self.put(resource)
        self.cache.synced.set()

    def put(self, resource: R) -> None:
        """As a user's apply: the resource as it is, at once in the cache."""
        self._stored[key_of(resource)] = resource
        self.cache.apply(key_of(resource), resource)

    def put_unreadable(self, key: Key, fault: str = "spec: is not valid", *, deleting: bool = False) -> None:
        """As the write of a newer version: the resource exists, and its newest state cannot be read."""
        self.cache.apply(key, Unreadable(fault, deleting))

    def remove(self, key: Key) -> None:
        """Delete without regard to finalizers."""
        self._stored.pop(key, None)
        self.cache.apply(key, None)

    def current(self, key: Key) -> R:
        """As the server has it. Raises KeyError."""
        return self._stored[key]

    def catch_up(self) -> None:
        self.cache.replace(self._stored)

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        self.statuses.append(status)
        stored = self._stored.get(key)
        if stored is not None:
            self._store(stored.model_copy(update={"status": status}))

    async def add_finalizer(self, key: Key, finalizer: str) -> None:
        stored = self._stored.get(key)
        if stored is None or stored.metadata.deletion_timestamp is not None:
            return
        if finalizer not in stored.metadata.finalizers:
            self._store(_with_finalizers(stored, [*stored.metadata.finalizers, finalizer]))

    async def remove_finalizer(self, key: Key, finalizer: str) -> None:
        self.released.append((key, finalizer))
        stored = self._stored.get(key)
        if stored is None:
            return
        remaining = [name for name in stored.metadata.finalizers if name != finalizer]
        if not remaining and stored.metadata.deletion_timestamp is not None:
            del self._stored[key]
            if not self.lagging:
                self.cache.apply(key, None)
        else:
            self._store(_with_finalizers(stored, remaining))

    def _store(self, resource: R) -> None:
        self._stored[key_of(resource)] = resource
        if not self.lagging:
            self.cache.apply(key_of(resource), resource)


def _with_finalizers(resource: R, finalizers: list[str]) -> R:
    metadata = resource.metadata.model_copy(update={"finalizers": finalizers})
    return resource.model_copy(update={"metadata": metadata})


@dataclass
class FakeSecrets:
    values: dict[Key, Mapping[str, bytes]] = field(default_factory=dict)
    reads: list[Key] = field(default_factory=list)

    async def read(self, key: Key) -> Mapping[str, bytes] | None:
        self.reads.append(key)
        return self.values.get(key)


@dataclass(frozen=True, slots=True)
class Published:
    """One event."""

    kind: EventKind
    verb: str
    key: Key
    event: ResourceEvent
    event_id: str | None


@dataclass
class FakePublisher:
    """An EventPublisher that keeps every event, also those whose id JetStream would drop as a repeat."""

    published: list[Published] = field(default_factory=list)

    def publish_event(
        self, kind: EventKind, verb: str, key: Key, event: ResourceEvent, event_id: str | None = None
    ) -> None:
        self.published.append(Published(kind, verb, key, event, event_id))

    @property
    def verbs(self) -> list[str]:
        return [event.verb for event in self.published]


class FakeFacts(FactWriter[M]):
    """A FactWriter that does not run: the facts stay in memory."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(cast(Bus, None), Facts.REPLICAS, clock)

    @property
    def facts(self) -> dict[Key, M]:
        return self._facts

    @property
    def completed(self) -> bool:
        return self._complete
