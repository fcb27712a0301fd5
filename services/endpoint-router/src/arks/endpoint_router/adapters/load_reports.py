"""Receive load reports of metrics over NATS: of each application the newest one that the router has not handled.

The client calls its subscriber for as long as messages wait, and nothing else runs meanwhile: a router that is behind
would acknowledge nothing of Envoy's and fall behind further. So messages are only stored, and handled in slices, those
of a few milliseconds together. A report that is not handled when the next one of its application comes is of no use any
more.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

from arks.contracts.subjects import LOAD_SUBJECTS
from arks.endpoint_router.domain import Report
from arks.endpoint_router.service.slices import in_slices
from arks.kit.bus import Bus
from arks.kit.clock import Clock

MOST_APPLICATIONS = 65_536
"""Reports of more at once are dropped: their next ones come in a quarter of a second."""
GATHER_SECONDS = 0.010
"""Reports of this time are read and handled together, and their weights reach Envoy in one response, which waits no
longer. After each pause the processor's caches are filled by others: with a thousand reports a second, 6 ms cost a
third more than 10, and one by one they cost more than all decisions."""


class LoadInbox:
    def __init__(self, bus: Bus, handle: Callable[[Report, float], None], clock: Clock) -> None:
        """`handle` is called with a report and when it arrived, in monotonic seconds. It must not block."""
        self._bus = bus
        self._handle = handle
        self._clock = clock
        self._newest: dict[str, tuple[bytes, float]] = {}
        """By subject, with the time of arrival, in the order of the oldest report that is not handled."""
        self._arrived = asyncio.Event()

    async def start(self) -> None:
        """Receive reports from now on, after reconnects too. Raises NATS_ERRORS."""
        await self._bus.subscribe_gathered(LOAD_SUBJECTS, self.put, GATHER_SECONDS)

    def put(self, subject: str, payload: bytes) -> None:
        if subject in self._newest or len(self._newest) < MOST_APPLICATIONS:
            self._newest[subject] = payload, self._clock.monotonic() - GATHER_SECONDS
            self._arrived.set()

    async def run(self) -> None:
        """Handle reports until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()  # before: a report that comes while others are handled sets it again
            await in_slices(self._handle_all())

    def _handle_all(self) -> Iterator[None]:
        while self._newest:
            subject = next(iter(self._newest))
            self._bus.faults.handle(LOAD_SUBJECTS, subject, partial(self._read, *self._newest.pop(subject)))
            yield

    def _read(self, payload: bytes, arrived_at: float) -> None:
        self._handle(Report(payload), arrived_at)
