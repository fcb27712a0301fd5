"""Slots of a replica whose engine does not report them: requests that wait while r run show that there are r."""

import math

from msgspec import Struct

QUEUE_PART = 0.125
"""A queue counts from this part of the running requests on, and one request at least: engines admit between two steps,
so one of many may be waiting for a moment although a slot is free."""
SHRINK_SECONDS = 20.0
"""Slots that long requests occupy (a full KV cache) are fewer; the number follows within about this time."""


class ObservedSlots(Struct, frozen=True, gc=False):
    most_running: float = 0.0
    """The most requests that were seen running at once: there are at least as many slots."""
    full_at: float | None = None
    """Requests that ran while others waited; None if none have waited yet."""

    @property
    def known(self) -> bool:
        return self.full_at is not None

    def after(self, running: float, waiting: float, elapsed: float) -> "ObservedSlots":
        most, full_at = max(self.most_running, running), self.full_at
        if not running:
            return self
        if waiting < 1.0 or waiting < QUEUE_PART * running:
            if running <= self.most_running and (full_at is None or running <= full_at):
                return self  # nearly always
            return ObservedSlots(most, None if full_at is None else max(full_at, running))
        if full_at is None:
            return ObservedSlots(most, most)
        if running >= full_at:
            return ObservedSlots(most, running)
        return ObservedSlots(most, full_at + (1 - math.exp(-elapsed / SHRINK_SECONDS)) * (running - full_at))
