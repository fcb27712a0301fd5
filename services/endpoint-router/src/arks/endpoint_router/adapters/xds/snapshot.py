"""The configuration of every Envoy: resources by type and name, each with a revision and the last accepted one.

A resource that an Envoy rejects is replaced by the last accepted one (or omitted if there is none), until a new one
is put. So an Envoy that starts later does not get what is known to be invalid.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage

_PREFIX = "type.googleapis.com/envoy.config."
CLUSTER = f"{_PREFIX}cluster.v3.Cluster"
ENDPOINT = f"{_PREFIX}endpoint.v3.ClusterLoadAssignment"
LISTENER = f"{_PREFIX}listener.v3.Listener"
TYPES = (CLUSTER, ENDPOINT, LISTENER)
"""In the order in which changes are sent: a route or an endpoint never arrives before the cluster that it needs."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One version of one resource, as it is sent."""

    packed: AnyMessage
    revision: int
    changed_at: float
    """When the reason for this version arrived, in monotonic seconds."""


@dataclass(slots=True)
class _Entry:
    desired: Resource
    accepted: Resource | None = None
    """The last one that an Envoy accepted."""
    rejected: bool = False
    """An Envoy rejected the desired one."""

    @property
    def effective(self) -> Resource | None:
        return self.accepted if self.rejected else self.desired


OnChange = Callable[[str, str], None]
"""Called with type and name."""


class ConfigSnapshot:
    def __init__(self) -> None:
        self._entries: dict[str, dict[str, _Entry]] = {type_: {} for type_ in TYPES}
        self._effective: dict[str, dict[str, Resource]] = {type_: {} for type_ in TYPES}
        self._listeners: list[OnChange] = []
        self._revision = 0

    def resources(self, type_: str) -> Mapping[str, Resource]:
        """Return the resources to send, by name."""
        return MappingProxyType(self._effective[type_])

    def subscribe(self, listener: OnChange) -> Callable[[], None]:
        """Call `listener` at each change. Returns a function that ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def put(self, type_: str, name: str, message: Any, changed_at: float = 0.0) -> bool:
        """Set the desired resource. Returns False if it equals the present one."""
        packed = AnyMessage(type_url=type_, value=message.SerializeToString(deterministic=True))
        entry = self._entries[type_].get(name)
        if entry is not None and entry.desired.packed.value == packed.value:
            return False
        desired = Resource(packed, self._next_revision(), changed_at)
        if entry is None:
            self._entries[type_][name] = _Entry(desired)
        else:
            entry.desired = desired
            entry.rejected = False
        self._refresh(type_, name)
        return True

    def remove(self, type_: str, name: str) -> bool:
        if self._entries[type_].pop(name, None) is None:
            return False
        self._refresh(type_, name)
        return True

    def accept(self, type_: str, name: str, revision: int) -> None:
        """Store that an Envoy runs this revision; rejections by other Envoys no longer count."""
        entry = self._entries[type_].get(name)
        if entry is None or entry.desired.revision != revision:
            return
        entry.accepted = entry.desired
        if entry.rejected:
            entry.rejected = False
            self._refresh(type_, name)

    def reject(self, type_: str, name: str, revision: int) -> None:
        """Fall back to the last accepted resource, because an Envoy rejected this revision.

        Does nothing if another Envoy already runs the revision: Envoys that can run it keep it.
        """
        entry = self._entries[type_].get(name)
        if entry is None or entry.rejected or entry.desired.revision != revision or entry.accepted is entry.desired:
            return
        entry.rejected = True
        self._refresh(type_, name)

    def retry(self, type_: str, name: str) -> None:
        """Send a rejected resource again: the cause (a port in use) may be gone."""
        entry = self._entries[type_].get(name)
        if entry is not None and entry.rejected:
            entry.rejected = False
            entry.desired = replace(entry.desired, revision=self._next_revision())
            self._refresh(type_, name)

    def is_rejected(self, type_: str, name: str) -> bool:
        """Return whether the desired resource was rejected, so that another one or none is sent."""
        entry = self._entries[type_].get(name)
        return entry is not None and entry.rejected

    def was_accepted(self, type_: str, name: str) -> bool:
        """Return whether an Envoy ever accepted a version of this resource."""
        entry = self._entries[type_].get(name)
        return entry is not None and entry.accepted is not None

    def _refresh(self, type_: str, name: str) -> None:
        entry = self._entries[type_].get(name)
        effective = entry.effective if entry is not None else None
        if entry is not None and effective is None and type_ == LISTENER:
            # Omitted, it would be closed by Envoys that have it from an earlier router and reject only the change.
            effective = entry.desired
        if effective is None:
            self._effective[type_].pop(name, None)
        else:
            self._effective[type_][name] = effective
        for listener in list(self._listeners):
            listener(type_, name)

    def _next_revision(self) -> int:
        self._revision += 1
        return self._revision
