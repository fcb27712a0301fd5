"""How a LeaderWorkerSet is to replace its replicas. Pure.

LeaderWorkerSet replaces from the highest number down. With several replicas and `maxSurge: 1` a new one is there before
an old one goes. Its own surge does nothing for a single replica (seen in v0.7), so there the set is given a second
one, by `replicas: 2`, until number 0 has been replaced. Where the cluster has no room for one more, old ones make room.
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
    """For how long no node has had room for it or its workers; None: it has one, or nobody has looked yet."""

    @property
    def serves_new(self) -> bool:
        return self.ready and self.updated


@dataclass(frozen=True, slots=True)
class Rollout:
    replicas: int
    max_unavailable: int
    max_surge: int


def plan(wanted: int, leaders: Sequence[Leader], *, in_place: bool) -> Rollout:
    """`in_place`: it is known that there is no room for one more."""
    if in_place or wanted == 0:
        return Rollout(wanted, 1, 0)
    if wanted > 1:
        return Rollout(wanted, 0, 1)
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


def seconds_until_in_place(wanted: int, leaders: Sequence[Leader], patience_seconds: float) -> float | None:
    """When to give up on room for one more than wanted; 0 or less: now. None: nobody lacks room."""
    lacking = [
        leader.unschedulable_seconds
        for leader in leaders
        if leader.index >= wanted and leader.updated and leader.unschedulable_seconds is not None
    ]
    return patience_seconds - max(lacking) if lacking else None
