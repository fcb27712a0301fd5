"""Measures how long replicas that have just become ready need for their first token: a request for one token each.

Kubernetes' readiness shows only that the engine's server answers. A replica that cannot be reached, because of a
NetworkPolicy of its namespace, or that answers neither completions nor embeddings, has no such time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from arks.app_deployer.domain.pods import GroupRef
from arks.kit.clock import Clock

_MOST = 256
"""Replicas that wait; further ones are not measured."""
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Started:
    """A replica that has just become ready."""

    ref: GroupRef
    pod: str
    uid: str
    host: str
    port: int
    model: str
    """The name that its engine serves."""


class Probe(Protocol):
    async def problem(self, port: int, model: str, host: str) -> str | None: ...


class FirstTokens:
    def __init__(self, probe: Probe, clock: Clock, measured: Callable[[Started, float | None], None]) -> None:
        """`measured`: is called with the seconds; None without an answer."""
        self._probe = probe
        self._clock = clock
        self._measured = measured
        self._due: asyncio.Queue[Started] = asyncio.Queue(_MOST)

    def measure(self, started: Started) -> None:
        try:
            self._due.put_nowait(started)
        except asyncio.QueueFull:
            self._measured(started, None)

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            started = await self._due.get()
            began = self._clock.monotonic()
            problem = await self._probe.problem(started.port, started.model, started.host)
            self._measured(started, self._clock.monotonic() - began if problem is None else None)
