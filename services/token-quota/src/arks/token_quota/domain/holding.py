"""Requests that wait for an endpoint's first replica: who may wait, and how many pass at a time.

Engines get what their slots take and little more, so a crowd waits in order at the gateway, where a client that hangs
up costs nothing, and a second replica takes its part.
"""

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from arks.kit.key import Key

FIRST_REQUESTS = 4
"""A replica, until its engine reports its load."""

Ticket = TypeVar("Ticket", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most requests that wait, at one replica of token-quota."""

    endpoint: int = 512
    tenant: int = 768
    total: int = 2048


class Queues(Generic[Ticket]):
    """In order of arrival, for each endpoint."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._queues: dict[Key, OrderedDict[Ticket, None]] = {}
        self._tenants: dict[str, int] = {}
        self._total = 0

    def endpoints(self) -> list[Key]:
        """Those for which requests wait."""
        return list(self._queues)

    def waiting(self, endpoint: Key) -> int:
        return len(self._queues.get(endpoint, ()))

    def has_room(self, endpoint: Key) -> bool:
        bounds = self._bounds
        return (
            self.waiting(endpoint) < bounds.endpoint
            and self._tenants.get(endpoint.namespace, 0) < bounds.tenant
            and self._total < bounds.total
        )

    def join(self, endpoint: Key, ticket: Ticket) -> bool:
        """False if there is no room."""
        if not self.has_room(endpoint):
            return False
        self._queues.setdefault(endpoint, OrderedDict())[ticket] = None
        self._count(endpoint, 1)
        return True

    def remove(self, endpoint: Key, ticket: Ticket) -> None:
        """Does nothing if it is not in the queue any more."""
        queue = self._queues.get(endpoint)
        if queue is None or ticket not in queue:
            return
        del queue[ticket]
        if not queue:
            del self._queues[endpoint]
        self._count(endpoint, -1)

    def take(self, endpoint: Key, count: int) -> list[Ticket]:
        """Remove the first `count`."""
        taken = list(self._queues.get(endpoint, ()))[:count]
        for ticket in taken:
            self.remove(endpoint, ticket)
        return taken

    def _count(self, endpoint: Key, change: int) -> None:
        self._total += change
        count = self._tenants.pop(endpoint.namespace, 0) + change
        if count:
            self._tenants[endpoint.namespace] = count


@dataclass(frozen=True, slots=True)
class Load:
    """What the engines of an endpoint report."""

    running: float = 0.0
    waiting: float = 0.0
    slots: int = 0
    """0: those of an engine are unknown."""
    drain_per_second: float = 0.0
    """Requests that end."""


def room(replicas: int, load: Load | None, released: int) -> int:
    """How many requests may pass now. `load`: None until it is known; `released`: requests that it lacks yet.

    Besides free slots, as many pass as end in a second, so that slots do not wait for the next report. While slots are
    unknown and no request waits in an engine, the number in flight may double.
    """
    if load is None:
        most = float(FIRST_REQUESTS * replicas)
    elif load.slots:
        most = load.slots + load.drain_per_second - load.running - load.waiting
    elif load.waiting:
        most = load.drain_per_second - load.waiting
    else:
        most = max(FIRST_REQUESTS * replicas, load.running) + load.drain_per_second
    return max(0, math.ceil(most) - released)
