"""What one Envoy subscribed to of one type, and what it has of it. Without I/O, the same for both protocols."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from arks.endpoint_router.adapters.xds.snapshot import Resource

WILDCARD = "*"
_UNKNOWN = ""
"""Stands for a version that has to be sent again; no content has it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A response that waits for its acknowledgement."""

    nonce: str
    at: float
    revisions: Mapping[str, int]
    """Revisions of the resources in it that this stream did not have before, by name."""
    names: frozenset[str]
    """All resources in it."""
    removed: tuple[str, ...]
    """Resources that it removes."""
    oldest_change: float
    """When the reason for the oldest of these changes arrived, in monotonic seconds."""


@dataclass(slots=True)
class Subscription:
    names: set[str] = field(default_factory=set)
    all: bool = False
    """Whether Envoy subscribed to all resources (the wildcard), besides those that it named."""
    changed: set[str] = field(default_factory=set)
    """Names whose resources may differ from what Envoy has."""
    owed: bool = False
    """Whether Envoy waits for a response, even for one without changes."""
    pending: Sent | None = None
    _has: dict[str, int | str] = field(default_factory=dict)
    """What Envoy has, by name: the revision that this stream sent, or the version that Envoy named as it connected."""

    @property
    def idle(self) -> bool:
        return not (self.changed or self.owed or self.pending)

    def includes(self, name: str) -> bool:
        return self.all or name in self.names

    def mark(self, name: str) -> None:
        """Store that a resource changed."""
        if self.includes(name):
            self.changed.add(name)

    def add_all(self, existing: Iterable[str]) -> None:
        """Subscribe to all resources. `existing`: their names at present."""
        self.all = True
        self.changed.update(existing)

    def drop_all(self) -> None:
        """End the subscription to all resources, not that to those that Envoy named."""
        self.all = False
        self._has = {name: has for name, has in self._has.items() if name in self.names}
        self.changed &= self.names

    def add(self, names: Iterable[str]) -> None:
        """Subscribe to names. Envoy may have forgotten what it subscribed to before, so it gets all of them."""
        for name in names:
            self.names.add(name)
            self.resend(name)

    def drop(self, names: Iterable[str]) -> None:
        """End the subscription to names. Of a name that belongs to all resources too, Envoy waits for an answer."""
        for name in names:
            if name not in self.names:
                continue
            self.names.discard(name)
            if self.all:
                self.resend(name)
            else:
                self._has.pop(name, None)
                self.changed.discard(name)

    def claim(self, versions: Mapping[str, str]) -> None:
        """Store which versions Envoy has from an earlier stream, by name, of resources that it subscribed to."""
        for name, version in versions.items():
            if self.includes(name):
                self._has[name] = version
                self.changed.add(name)

    def resend(self, name: str) -> None:
        """Send a resource again, or that it does not exist, whatever this stream sent before."""
        if self.includes(name):
            self._has[name] = _UNKNOWN
            self.changed.add(name)

    def store(self, name: str, resource: Resource) -> None:
        """Store that a resource is sent."""
        self._has[name] = resource.revision

    def forget(self, name: str) -> None:
        """Store that Envoy has no such resource."""
        self._has.pop(name, None)

    def has_any(self, name: str) -> bool:
        """Return whether Envoy may have a version of this resource, or waits for one."""
        return name in self._has

    def was_sent(self, name: str) -> bool:
        """Return whether this stream sent a version of this resource."""
        return isinstance(self._has.get(name), int)

    def has(self, name: str, resource: Resource) -> bool:
        return self._has.get(name) in (resource.revision, resource.version)
