"""Move new requests away from queues, at the next load report.

Shares by capacity (`division`) are right on average. A burst, a request of unusual length or a wrong first guess makes
a queue nevertheless, and at high utilisation a queue lasts: what flows in by capacity is nearly what flows out. So for
the next second the arrivals themselves are planned: each group passes on as many requests as wait at it, first to
groups with free slots, at most what these can work on. What remains is spread so that all groups need the same time for
their queues, which makes the longest wait shortest.

The correction is in requests, not a factor: a request that waits at a group of 2 slots moves one request in the next
second and not the group's whole share. A loop of this kind is stable while the delay from a change of shares to its
report is well below HORIZON_SECONDS.
"""

import math
from collections.abc import Sequence

from msgspec import Struct

HORIZON_SECONDS = 1.0
"""Queues are worked off by arrivals of this time: about three times the delay of a report and of Envoy's update."""
QUEUED_SHARE = 1e-3
"""What is left of a group's share at least: a ready replica always gets some traffic."""
FULL_PART = 0.95
"""A group takes over requests of others until it is used to this part."""
LEAST_UTILISATION = 0.01


class Part(Struct, frozen=True, gc=False):
    """One group as relief needs it."""

    share: float
    """By capacity, 0 to 1."""
    proportion: float
    """Of the capacity of all groups, 0 to 1."""
    waiting: float = 0.0
    """Requests."""
    free: float = 0.0
    """Slots without a request, at replicas whose readings are not in doubt."""


def relieve(parts: Sequence[Part], utilisation: float, arrivals: float) -> list[float]:
    """Return the shares for the next second; they add up to 1.

    `utilisation`: used slots as a part of all, by speed; `arrivals`: requests a second at all groups.
    """
    queued = math.fsum(part.waiting for part in parts)
    if not queued:
        return [part.share for part in parts]
    expected = max(arrivals * HORIZON_SECONDS, 1.0)
    room = [_room(part, utilisation, expected) for part in parts]
    filled = min(1.0, math.fsum(room) / queued)
    # What still waits then at each group, beyond its part of all that still waits; below 0: less.
    excess = [(1 - filled) * (part.waiting - part.proportion * queued) for part in parts]
    wanted = [filled * part.waiting + max(0.0, over) for part, over in zip(parts, excess, strict=True)]
    passed = [
        min(amount, (1 - QUEUED_SHARE) * part.share * expected) for part, amount in zip(parts, wanted, strict=True)
    ]
    into_slots = _spread(math.fsum(passed), room)
    into_queues = _spread(math.fsum(passed) - math.fsum(into_slots), [max(0.0, -over) for over in excess])
    return [
        part.share + (slots + queue - given) / expected
        for part, given, slots, queue in zip(parts, passed, into_slots, into_queues, strict=True)
    ]


def _room(part: Part, utilisation: float, expected: float) -> float:
    """Return how many requests a group without a queue can take over in the next second."""
    if part.waiting:
        return 0.0
    capacity = FULL_PART * part.proportion / max(utilisation, LEAST_UTILISATION)
    return min(part.free, max(0.0, capacity - part.share) * expected)


def _spread(amount: float, limits: Sequence[float]) -> list[float]:
    """Return the amount, or as much of it as the limits allow, divided in their proportion."""
    total = math.fsum(limits)
    return [limit * min(1.0, amount / total) if total else 0.0 for limit in limits]
