"""Writes statuses and remembers the last status of each resource, because caches lag behind writes."""

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel

from arks.contracts.resources import Resource
from arks.kit.clock import Clock
from arks.kit.key import Key, key_of

R = TypeVar("R", bound=Resource)
S = TypeVar("S", bound=BaseModel)
NEVER = float("-inf")


class StatusStore(Protocol):
    async def patch_status(self, key: Key, status: BaseModel) -> None: ...


@dataclass(frozen=True, slots=True)
class Written(Generic[R, S]):
    """The last status of a resource."""

    resource: R
    """The resource when the status was written or adopted."""
    status: S | None
    at: float
    """Monotonic seconds; NEVER if this process has not written it."""


class StatusWriter(Generic[R, S]):
    """Writes statuses of one kind. A new uid is a new resource, so the last status of its predecessor is forgotten."""

    def __init__(self, resources: StatusStore, clock: Clock) -> None:
        self._resources = resources
        self._clock = clock
        self._written: dict[Key, Written[R, S]] = {}

    def last(self, resource: R) -> Written[R, S]:
        """Return the status that was written or adopted last, otherwise the resource's own."""
        return self._remembered(resource) or Written(resource, _status_of(resource), NEVER)

    def adopt(self, resource: R, *, just_written: bool = False) -> bool:
        """Remember the resource's own status unless one is remembered. Returns True if it was adopted now.

        `just_written`: count intervals between writes from now, although the status may be old: after a restart it
        holds until what it is made from has arrived again.
        """
        if self._remembered(resource) is not None:
            return False
        at = self._clock.monotonic() if just_written else NEVER
        self._written[key_of(resource)] = Written(resource, _status_of(resource), at)
        return True

    async def write(self, resource: R, status: S) -> bool:
        """Write the status unless it equals the last one; return whether it did. Raises Unavailable, Conflict."""
        last = self.last(resource)
        changed = status != last.status
        if changed:
            await self._resources.patch_status(key_of(resource), status)
        at = self._clock.monotonic() if changed else last.at
        self._written[key_of(resource)] = Written(resource, status, at)
        return changed

    def wait_seconds(self, resource: R, interval_seconds: float) -> float:
        """Return the seconds until the interval since the last write is over; 0 if nothing was written."""
        return max(0.0, self.last(resource).at + interval_seconds - self._clock.monotonic())

    def forget(self, key: Key) -> None:
        self._written.pop(key, None)

    def statuses(self) -> dict[Key, S]:
        """Return the last status of every resource that has one."""
        return {key: written.status for key, written in self._written.items() if written.status is not None}

    def _remembered(self, resource: R) -> Written[R, S] | None:
        written = self._written.get(key_of(resource))
        same = written is not None and written.resource.metadata.uid == resource.metadata.uid
        return written if same else None


def _status_of(resource: Resource) -> Any:  # each kind has a type of its own
    return getattr(resource, "status", None)
