"""Decide how a LeaderWorkerSet replaces its replicas (surge or in place). Pure.

LeaderWorkerSet replaces from the highest number down. With several replicas and `maxSurge: 1` a new one is there before
an old one goes. Its own surge does nothing for a single replica (seen in v0.7), so there the set is given a second
one, by `replicas: 2`, until number 0 has been replaced. If no node has room for one more, old ones stop first.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Leader:
    """One replica, by its leader pod. Those on their way out do not count."""

    index: int
    ready: bool
    updated: bool
    unschedulable_seconds: float | None = None
    """For how long no node has had room for it or its workers; None: it has a node, or is not scheduled yet."""

    @property
    def serves_new(self) -> bool:
        return self.ready and self.updated


@dataclass(frozen=True, slots=True)
class Rollout:
    replicas: int
    max_unavailable: int
    max_surge: int


def plan(desired: int, leaders: Sequence[Leader], *, without_surge: bool) -> Rollout:
    """`without_surge`: no node has room for one more."""
    if without_surge or desired == 0:
        return Rollout(desired, 1, 0)
    if desired > 1:
        return Rollout(desired, 0, 1)
    return Rollout(2 if _second_needed(leaders) else 1, 1, 0)


def _second_needed(leaders: Sequence[Leader]) -> bool:
    """An old number 0 serves, or a new number 1 stands in while number 0 is replaced."""
    first = next((leader for leader in leaders if leader.index == 0), None)
    second = next((leader for leader in leaders if leader.index == 1), None)
    if first is not None and first.serves_new:
        return False
    if first is not None and first.ready:
        return True
    return second is not None and second.serves_new


def seconds_until_surge_ends(desired: int, leaders: Sequence[Leader], patience_seconds: float) -> float | None:
    """Seconds until a surge without room ends; 0 or less: now. None: no replica lacks room."""
    lacking = [
        leader.unschedulable_seconds
        for leader in leaders
        if leader.index >= desired and leader.updated and leader.unschedulable_seconds is not None
    ]
    return patience_seconds - max(lacking) if lacking else None
