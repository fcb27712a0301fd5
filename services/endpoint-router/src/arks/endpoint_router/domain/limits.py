"""How many requests of an endpoint may be in flight at once, how many of them may be retries, and when to come back.

An engine accepts requests without end, and a client of a queue of minutes has long hung up when its turn comes. So a
gateway rejects requests beyond some rounds of the replicas' slots at once. Each gateway counts its own requests.
"""

import math
from collections.abc import Sequence

from msgspec import Struct

QUEUE_PER_SLOT = 7
"""Requests that may wait for each slot: the last one begins after about seven times what one request takes."""
LEAST_REQUESTS = 64
"""Few slots do not make a burst of short requests an overload."""
QUEUED_PART = 0.5
"""Below this part of the room for waiting requests nothing is rejected, and the queue's time does not matter."""
RETRY_AFTER_STEPS = (1, 2, 5, 10, 20, 30, 60)
"""Seconds. Coarse, so that Envoy gets few changes; OpenAI's clients ignore more than a minute."""
UNKNOWN_DRAIN_SECONDS = 5
"""Where no replica's drain rate is known."""
RETRY_PERCENTS = (25, 50, 100)
RETRY_HEADROOM = 1.25


class Limits(Struct, frozen=True, gc=False):
    requests: int | None = None
    """In flight at one gateway; None: no limit, because slots are unknown."""
    retry_percent: int = RETRY_PERCENTS[-1]
    """Retries, as a part of the requests in flight at one gateway."""
    retry_after_seconds: int = RETRY_AFTER_STEPS[0]
    """For a client whose request is rejected."""


class Load(Struct, frozen=True, gc=False):
    """One replica that gets traffic."""

    slots: int
    """0 if unknown."""
    waiting: float = 0.0
    drain_rate: float | None = None
    """Requests a second; None if unknown."""


def limits(replicas: Sequence[Load]) -> Limits:
    """Return the limits of an endpoint with these replicas."""
    slots = [replica.slots for replica in replicas]
    known = bool(slots) and all(slots)
    requests = max(LEAST_REQUESTS, (1 + QUEUE_PER_SLOT) * sum(slots)) if known else None
    return Limits(
        requests,
        _retry_percent(slots if known else [1] * len(slots)),
        RETRY_AFTER_STEPS[0] if requests is None else _retry_after(replicas, requests - sum(slots)),
    )


def _retry_percent(sizes: Sequence[int]) -> int:
    """Return what the loss of the largest replica needs: its requests, as a part of those at the others.

    A limit by number would either fail requests that a dead replica has lost, or let every request of an endpoint
    whose replicas all fail meet four of them.
    """
    if len(sizes) < 2:
        return RETRY_PERCENTS[-1]
    largest = max(sizes)
    needed = 100 * RETRY_HEADROOM * largest / (sum(sizes) - largest)
    return next((step for step in RETRY_PERCENTS if step >= needed), RETRY_PERCENTS[-1])


def _retry_after(replicas: Sequence[Load], room: int) -> int:
    """Return how long the present queue takes, in seconds."""
    waiting = math.fsum(replica.waiting for replica in replicas)
    if waiting < QUEUED_PART * room:
        return RETRY_AFTER_STEPS[0]
    drain = math.fsum(replica.drain_rate or 0.0 for replica in replicas)
    seconds = waiting / drain if drain else UNKNOWN_DRAIN_SECONDS
    return next((step for step in RETRY_AFTER_STEPS if step >= seconds), RETRY_AFTER_STEPS[-1])
