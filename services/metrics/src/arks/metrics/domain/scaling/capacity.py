"""What a replica can do, measured while it serves, and how many replicas a load needs.

A full replica does `speed` tokens a second in each of its slots. Replicas beside those that the load keeps full are
room for chance: by the square-root rule of staffing they grow with the root of the load, so a large application needs
a smaller part of them than a small one (Halfin and Whitt 1981). How much room the objectives need is found by
feedback: more each time they are missed although there was enough, slowly less while they hold at the limit.
"""

import math
from dataclasses import dataclass, replace

_EXPLORE = 1.25
"""Before the slots are known: so much more than what was seen to hold is assumed."""
_ROOM, _MOST_ROOM, _LEAST_ROOM = 0.75, 4.0, 0.05
_MORE_ROOM, _LESS_ROOM = 0.15, 0.003
_NEW = 0.3
"""Part of a new measurement in a mean."""


@dataclass(frozen=True, slots=True)
class Capacity:
    speed: float | None = None
    """Tokens a second of a slot in use."""
    slots: float | None = None
    """Of a replica: those reserved, or as many as were in use while requests waited."""
    held: float = 0.0
    """Most tokens a second of a replica at which the objectives held."""
    room: float = _ROOM
    """Replicas beside the full ones, over the root of their number."""

    @property
    def full(self) -> float | None:
        """Tokens a second of a replica with all slots in use; None until anything was measured."""
        if self.speed and self.slots:
            return self.speed * self.slots
        return self.held * _EXPLORE or None


def with_speed(capacity: Capacity, speed: float | None) -> Capacity:
    return capacity if speed is None or speed == capacity.speed else replace(capacity, speed=speed)


def with_slots(capacity: Capacity, reserved: float | None, at_a_queue: float | None) -> Capacity:
    """`reserved`: slots that a replica has memory for. `at_a_queue`: requests that ran in one while others waited."""
    before = capacity.slots
    if reserved:
        return capacity if reserved == before else replace(capacity, slots=reserved)
    if at_a_queue is None:
        return capacity
    return replace(capacity, slots=at_a_queue if before is None else before + _NEW * (at_a_queue - before))


def with_held(capacity: Capacity, tokens_per_second: float) -> Capacity:
    """`tokens_per_second`: of a replica, over a minute in which all objectives held."""
    return replace(capacity, held=tokens_per_second) if tokens_per_second > capacity.held else capacity


def missed(capacity: Capacity) -> Capacity:
    """More room: there were as many replicas as were needed, and an objective was missed."""
    return replace(capacity, room=min(_MOST_ROOM, capacity.room + _MORE_ROOM))


def met(capacity: Capacity) -> Capacity:
    """Somewhat less room: a minute at the limit with all objectives held."""
    return replace(capacity, room=max(_LEAST_ROOM, capacity.room - _LESS_ROOM))


def replicas_for(capacity: Capacity, tokens_per_second: float) -> float | None:
    """Replicas that a load needs, unrounded; None while nothing was measured."""
    full = capacity.full
    if full is None:
        return None
    load = max(0.0, tokens_per_second) / full
    return load + capacity.room * math.sqrt(load)


def from_full(tokens_per_second: float) -> Capacity:
    """As measured by an earlier run."""
    return Capacity(held=tokens_per_second / _EXPLORE)
