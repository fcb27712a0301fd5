"""Load reports that other replicas of metrics publish, of what autoscalers scale."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from arks.events.v1.load_pb2 import LoadReport
from arks.kit.bus import NATS_ERRORS, Bus
from arks.kit.cache import Unreadable
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.metrics.adapters.reports import replica_reports, subject_of
from arks.metrics.service.scaling.loads import Received

_INTERVAL_SECONDS = 1.0
"""Between two looks at what is needed. A member that is new reads for longer than that before it reports."""


@dataclass(slots=True)
class _Followed:
    unsubscribe: Callable[[], Awaitable[None]]
    payload: bytes | None = None
    """Read only when a decision needs it."""
    at: float = 0.0


class LoadFollower:
    """Follows the applications and stages that `needed` returns. `run` until cancelled."""

    def __init__(self, bus: Bus, clock: Clock, needed: Callable[[], set[Key]]) -> None:
        self._bus = bus
        self._clock = clock
        self._needed = needed
        self._followed: dict[Key, _Followed] = {}

    def newest(self, key: Key) -> Received | None:
        found = self._followed.get(key)
        if found is None or found.payload is None:
            return None
        payload, age_seconds = found.payload, self._clock.monotonic() - found.at
        replicas = self._bus.faults.read("arks.load", key, lambda: replica_reports(LoadReport.FromString(payload)))
        return None if isinstance(replicas, Unreadable) else Received(replicas, age_seconds)

    async def run(self) -> None:
        while True:
            needed = self._needed()
            with suppress(*NATS_ERRORS):
                for key in self._followed.keys() - needed:
                    await self._followed.pop(key).unsubscribe()
                for key in needed - self._followed.keys():
                    await self._follow(key)
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def _follow(self, key: Key) -> None:
        def take(payload: bytes) -> None:
            followed.payload, followed.at = payload, self._clock.monotonic()

        followed = _Followed(_nothing)
        followed.unsubscribe = await self._bus.subscribe(subject_of(key), take)
        self._followed[key] = followed


async def _nothing() -> None:
    """There is no subscription yet."""
