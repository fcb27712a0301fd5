"""Decide how a LeaderWorkerSet replaces its replicas (surge or in place). Pure.

LeaderWorkerSet replaces from the highest number down. With several replicas and `maxSurge: 1` a new one is there before
an old one goes. Its own surge does nothing for a single replica (seen in v0.7), so there the set is given a second
one, by `replicas: 2`, until number 0 has been replaced. If one more lacks a node, a quota or a volume, old ones stop
first.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Leader:
    """One replica, by its leader pod. Those on their way out do not count."""

    index: int
    ready: bool
    updated: bool
    blocked_seconds: float | None = None
    """For how long it or its workers have had no node or no volume; None: nothing is known to block it."""
    node_expected: bool = False
    """An autoscaler makes a node for it."""

    @property
    def serves_new(self) -> bool:
        return self.ready and self.updated


@dataclass(frozen=True, slots=True)
class Rollout:
    replicas: int
    max_unavailable: int
    max_surge: int


def plan(desired: int, leaders: Sequence[Leader], *, without_surge: bool) -> Rollout:
    """`without_surge`: nothing has room for one more, or none is wanted."""
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


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a surge may lack what it needs."""

    seconds: float
    node_expected_seconds: float
    """While an autoscaler makes a node."""


def seconds_until_surge_ends(
    desired: int, leaders: Sequence[Leader], patience: Patience, *, missing_seconds: float | None = None
) -> float | None:
    """Seconds until a surge without room ends; 0 or less: now. None: no replica lacks room.

    `missing_seconds`: for how long pods have been missing because their creation is refused; None: it is not.
    """
    extra = [leader for leader in leaders if leader.index >= desired and leader.updated]
    waits = [_remaining_seconds(leader.blocked_seconds, patience, leader.node_expected) for leader in extra]
    if missing_seconds is not None and _is_rollout(leaders) and not any(leader.ready for leader in extra):
        waits.append(patience.seconds - missing_seconds)
    return min((seconds for seconds in waits if seconds is not None), default=None)


def _remaining_seconds(blocked_seconds: float | None, patience: Patience, node_expected: bool) -> float | None:
    if blocked_seconds is None:
        return None
    return (patience.node_expected_seconds if node_expected else patience.seconds) - blocked_seconds


def _is_rollout(leaders: Sequence[Leader]) -> bool:
    return any(not leader.updated for leader in leaders)
