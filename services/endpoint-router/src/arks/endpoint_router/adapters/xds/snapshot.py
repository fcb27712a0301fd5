"""The configuration of every Envoy: resources by type and name, each with a revision and the last accepted one.

An Envoy that rejects a resource gets the last accepted one instead (or none if there is none), until a new one is put.
The other Envoys get it: one Envoy that is broken, or of another version, decides nothing for them.
"""

import hashlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

_PREFIX = "type.googleapis.com/envoy.config."
CLUSTER = f"{_PREFIX}cluster.v3.Cluster"
ENDPOINT = f"{_PREFIX}endpoint.v3.ClusterLoadAssignment"
LISTENER = f"{_PREFIX}listener.v3.Listener"
RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
TYPES = (RUNTIME, CLUSTER, ENDPOINT, LISTENER)
"""In the order in which changes are sent: a route or an endpoint never arrives before the cluster that it needs."""


class Resource(Struct, frozen=True, gc=False):
    """One version of one resource."""

    value: bytes
    """The encoded message."""
    version: str
    """A hash of the content: the same in every router, and after a restart."""
    revision: int
    """Grows with each change in this process, and when the same content has to be sent again."""
    changed_at: float
    """When the reason for this version arrived, in monotonic seconds."""


@dataclass(slots=True)
class _Entry:
    desired: Resource
    accepted: Resource | None = None
    """The last one that an Envoy accepted."""
    rejected_by: set[Hashable] = field(default_factory=set)
    """Streams whose Envoys rejected the desired one."""


OnChange = Callable[[str, str], None]
"""Called with type and name."""


class ConfigSnapshot:
    def __init__(self) -> None:
        self._entries: dict[str, dict[str, _Entry]] = {type_: {} for type_ in TYPES}
        self._desired: dict[str, dict[str, Resource]] = {type_: {} for type_ in TYPES}
        self._listeners: list[OnChange] = []
        self._revision = 0

    def resources(self, type_: str) -> Mapping[str, Resource]:
        """Return the resources to send, by name."""
        return MappingProxyType(self._desired[type_])

    def instead_of(self, type_: str, resource: Resource, name: str) -> Resource | None:
        """Return what an Envoy gets that rejected the resource; None if it has to be omitted."""
        entry = self._entries[type_].get(name)
        accepted = entry.accepted if entry is not None else None
        if accepted is not None and accepted.revision != resource.revision:
            return accepted
        # Omitted, a listener would be closed by an Envoy that has it from an earlier router and rejects a change.
        return resource if type_ == LISTENER else None

    def subscribe(self, listener: OnChange) -> Callable[[], None]:
        """Call `listener` at each change. Returns a function that ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def put(self, type_: str, name: str, message: Any, changed_at: float = 0.0) -> bool:
        """Set the desired resource. Returns False if it equals the present one."""
        return self.put_encoded(type_, name, message.SerializeToString(deterministic=True), changed_at)

    def put_encoded(self, type_: str, name: str, value: bytes, changed_at: float = 0.0) -> bool:
        """Do the same with an encoded message."""
        entry = self._entries[type_].get(name)
        if entry is not None and entry.desired.value == value:
            return False
        desired = Resource(value, _version(value), self._next_revision(), changed_at)
        if entry is None:
            self._entries[type_][name] = _Entry(desired)
        else:
            entry.desired = desired
            entry.rejected_by.clear()
        self._refresh(type_, name)
        return True

    def remove(self, type_: str, name: str) -> bool:
        if self._entries[type_].pop(name, None) is None:
            return False
        self._refresh(type_, name)
        return True

    def accept(self, type_: str, name: str, revision: int) -> None:
        """Store that an Envoy runs this revision."""
        entry = self._entries[type_].get(name)
        if entry is not None and entry.desired.revision == revision:
            entry.accepted = entry.desired

    def reject(self, type_: str, name: str, revision: int, by: Hashable) -> None:
        """Store that the Envoy of a stream rejected this revision."""
        entry = self._entries[type_].get(name)
        if entry is not None and entry.desired.revision == revision:
            entry.rejected_by.add(by)

    def forget(self, by: Hashable) -> None:
        """A stream has ended: what its Envoy rejected does not count any more."""
        for entries in self._entries.values():
            for entry in entries.values():
                entry.rejected_by.discard(by)

    def retry(self, type_: str, name: str) -> None:
        """Send a rejected resource again: the cause (a port in use) may be gone."""
        entry = self._entries[type_].get(name)
        if entry is not None and entry.rejected_by:
            entry.rejected_by.clear()
            entry.desired = replace(entry.desired, revision=self._next_revision())
            self._refresh(type_, name)

    def is_rejected(self, type_: str, name: str) -> bool:
        """Return whether a connected Envoy rejected the desired resource, and none accepted it."""
        entry = self._entries[type_].get(name)
        return entry is not None and bool(entry.rejected_by) and entry.accepted is not entry.desired

    def was_accepted(self, type_: str, name: str) -> bool:
        """Return whether an Envoy ever accepted a version of this resource."""
        entry = self._entries[type_].get(name)
        return entry is not None and entry.accepted is not None

    def _refresh(self, type_: str, name: str) -> None:
        entry = self._entries[type_].get(name)
        if entry is None:
            self._desired[type_].pop(name, None)
        else:
            self._desired[type_][name] = entry.desired
        for listener in list(self._listeners):
            listener(type_, name)

    def _next_revision(self) -> int:
        self._revision += 1
        return self._revision


def _version(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=12).hexdigest()
