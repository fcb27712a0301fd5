"""What every Envoy should have: resources by type and name, each with its revision and the last one that was accepted.

A resource that an Envoy refuses is replaced by the last good one (or left out when there is none), so that an Envoy
that starts later does not get what is known to be bad, until somebody puts something else in its place.
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
    """Monotonic seconds at which what it says became known."""


@dataclass(slots=True)
class _Entry:
    wanted: Resource
    good: Resource | None = None
    """The last one that an Envoy took."""
    refused: bool = False
    """An Envoy refused what is wanted."""

    @property
    def effective(self) -> Resource | None:
        return self.good if self.refused else self.wanted


Changed = Callable[[str, str], None]
"""Called with type and name."""


class World:
    def __init__(self) -> None:
        self._entries: dict[str, dict[str, _Entry]] = {type_: {} for type_ in TYPES}
        self._effective: dict[str, dict[str, Resource]] = {type_: {} for type_ in TYPES}
        self._listeners: list[Changed] = []
        self._revision = 0

    def resources(self, type_: str) -> Mapping[str, Resource]:
        """What is to be sent now, by name."""
        return MappingProxyType(self._effective[type_])

    def subscribe(self, listener: Changed) -> Callable[[], None]:
        """Returns what ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def put(self, type_: str, name: str, message: Any, changed_at: float = 0.0) -> bool:
        """Want this. False when it is what was wanted already."""
        packed = AnyMessage(type_url=type_, value=message.SerializeToString(deterministic=True))
        entry = self._entries[type_].get(name)
        if entry is not None and entry.wanted.packed.value == packed.value:
            return False
        wanted = Resource(packed, self._next(), changed_at)
        if entry is None:
            self._entries[type_][name] = _Entry(wanted)
        else:
            entry.wanted = wanted
            entry.refused = False
        self._refresh(type_, name)
        return True

    def remove(self, type_: str, name: str) -> bool:
        if self._entries[type_].pop(name, None) is None:
            return False
        self._refresh(type_, name)
        return True

    def accepted(self, type_: str, name: str, revision: int) -> None:
        """An Envoy runs this revision. That another one refused it counts no longer."""
        entry = self._entries[type_].get(name)
        if entry is None or entry.wanted.revision != revision:
            return
        entry.good = entry.wanted
        if entry.refused:
            entry.refused = False
            self._refresh(type_, name)

    def refused(self, type_: str, name: str, revision: int) -> None:
        """An Envoy does not take this revision: fall back to the last good one.

        Not when another Envoy runs it already: those who can, go on with it.
        """
        entry = self._entries[type_].get(name)
        if entry is None or entry.refused or entry.wanted.revision != revision or entry.good is entry.wanted:
            return
        entry.refused = True
        self._refresh(type_, name)

    def retry(self, type_: str, name: str) -> None:
        """Offer again what was refused: what stood in its way (a port that was taken) may be gone."""
        entry = self._entries[type_].get(name)
        if entry is not None and entry.refused:
            entry.refused = False
            entry.wanted = replace(entry.wanted, revision=self._next())
            self._refresh(type_, name)

    def is_refused(self, type_: str, name: str) -> bool:
        """Whether what is wanted is not what is sent."""
        entry = self._entries[type_].get(name)
        return entry is not None and entry.refused

    def has_good(self, type_: str, name: str) -> bool:
        """Whether an Envoy ever took one."""
        entry = self._entries[type_].get(name)
        return entry is not None and entry.good is not None

    def _refresh(self, type_: str, name: str) -> None:
        entry = self._entries[type_].get(name)
        effective = entry.effective if entry is not None else None
        if entry is not None and effective is None and type_ == LISTENER:
            # Left out, it would be closed by Envoys that have it from an earlier router and refuse only the change.
            effective = entry.wanted
        if effective is None:
            self._effective[type_].pop(name, None)
        else:
            self._effective[type_][name] = effective
        for listener in list(self._listeners):
            listener(type_, name)

    def _next(self) -> int:
        self._revision += 1
        return self._revision
