"""Divides the applications among the replicas of metrics: shows this one to the others, and follows them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from arks.kit.clock import Clock
from arks.metrics.domain.members import (
    ALONE_SECONDS,
    ARRIVAL_SECONDS,
    BEAT_SECONDS,
    LONGEST_WARM_UP_SECONDS,
    Member,
    Members,
)


class Channel(Protocol):
    """To the other replicas of metrics."""

    @property
    def connected(self) -> bool: ...
    async def follow(self, take: Callable[[Member], None]) -> None:
        """Call `take` with what each of them sends, from now on; with what this one sends, too."""

    async def send(self, member: Member) -> None:
        """Send to all that are there; nothing while the bus is away."""


class Shared(Protocol):
    """What is divided."""

    def divide(self) -> None:
        """Begin and end the reading of applications as the members have it now."""

    def warm(self) -> bool:
        """Whether all that is read here has been read for long enough to be reported."""


class Sharing:
    """`run` until cancelled, and `depart` at the end."""

    def __init__(
        self,
        members: Members,
        shared: Shared,
        channel: Channel,
        clock: Clock,
        *,
        synced: Callable[[], Awaitable[object]],
    ) -> None:
        """`synced` returns when all applications are known: before, there is nothing to take over."""
        self._members = members
        self._shared = shared
        self._channel = channel
        self._clock = clock
        self._synced = synced
        self._awaited = asyncio.Event()
        """Another member waits for an answer, or there is something else to do at once."""
        members.changed = self._changed

    async def run(self) -> None:
        """Run until cancelled."""
        members = self._members
        await self._channel.follow(self._take)
        await self._channel.send(members.own)
        await asyncio.sleep(ARRIVAL_SECONDS)
        while not await self._is_synced():
            await self._channel.send(members.own)
        members.arrive()
        began = self._clock.monotonic()
        while True:
            self._awaited.clear()  # before: what comes while this is sent is answered at once
            now = self._clock.monotonic()
            members.look(now, connected=self._channel.connected)
            if not members.own.ready and (self._shared.warm() or now - began > LONGEST_WARM_UP_SECONDS):
                members.take_over()
            await self._channel.send(members.own)
            await self._pause()

    def problem(self) -> str | None:
        """Why this member is not ready: a rollout ends the old one only once this one reports."""
        return None if self._members.own.ready else "does not report its share of the applications yet"

    async def depart(self) -> None:
        """Let the others take over at once."""
        self._members.depart()
        await self._channel.send(self._members.own)

    async def _is_synced(self) -> bool:
        """Whether all applications are known within a beat."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEAT_SECONDS):
                await self._synced()
                return True
        return False

    def _take(self, member: Member) -> None:
        if self._members.take(member, self._clock.monotonic()):
            self._awaited.set()

    def _changed(self) -> None:
        self._shared.divide()
        self._awaited.set()

    async def _pause(self) -> None:
        """Wait for the next beat, at most until another member appears."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ALONE_SECONDS if self._members.alone else BEAT_SECONDS):
                await self._awaited.wait()
