"""Group the replicas of one application that are alike: same slots, and speeds within a tolerance.

A group is a locality in Envoy. Inside it all weights are equal, so Envoy sends each request to the replica with the
fewest in flight, counting its own requests at the moment it decides. With unequal weights it schedules replicas by
deadline instead, which knows nothing of queues.

A replica that changes its group is a new host for Envoy: its connections are made again, and its requests in flight
count from 0. So the tolerance for parting is wider than that for joining.
"""

from collections.abc import Sequence
from itertools import count as numbers
from statistics import median

from msgspec import Struct

from arks.endpoint_router.domain.load import Signals, Unit, frozen
from arks.endpoint_router.domain.replicas import ReplicaId

JOIN_FACTOR = 1.25
"""Replicas whose speeds are within this factor are alike."""
PART_FACTOR = 1.75
"""Replicas that were alike stay so up to this factor, so that noise does not part and join them repeatedly."""
IDLE_SECONDS = 3.0
"""Observed slots of a replica without a known speed count for this long after its last work."""
UNKNOWN_SLOTS = 1.0
"""Slots of replicas of which nothing is known: only the quotient counts."""


class Contender(Struct, frozen=True, gc=False):
    """A ready replica as it enters the comparison."""

    id: ReplicaId
    slots: int
    """From its configuration or its engine; 0 if unknown."""
    signals: Signals | None
    doubt: str | None
    """Why its newest reading cannot be used; None if it can. What was measured earlier holds."""
    group: str | None = None
    """Its group in the last decision; None for a new replica."""
    share: float | None = None
    """Its share of the application's traffic in the last decision."""

    def known_slots(self, *, measured: bool) -> float | None:
        """Return its slots; None if they are unknown. `measured`: its speed is known.

        Observed slots count only if its speed is known or it worked lately: neither a page of zeros nor one that was
        frozen from its first reading on, with a queue on it, must fix a share by slots.
        """
        if self.slots:
            return float(self.slots)
        signals = self.signals
        if signals is None or (found := signals.observed_slots.full_at) is None:
            return None
        if measured:
            return found
        lately = signals.reading.measured_at - signals.busy_at <= IDLE_SECONDS
        return found if lately and frozen(signals) is None else None

    @property
    def most_running(self) -> float:
        return self.signals.observed_slots.most_running if self.signals is not None else 0.0


class Capacity(Struct, frozen=True, gc=False):
    """What one replica can do at the same time, and how fast."""

    contender: Contender
    slots: float
    speed: float
    """Work of a slot in a second, in any unit that is the same for all replicas."""
    measured: bool
    """False if the speed is that of its peers."""


class Group(Struct, frozen=True, gc=False):
    name: str
    """Stable and unique among the groups of all applications of the endpoint's namespace."""
    members: tuple[Contender, ...]
    slots: float
    """Of all members together."""
    speed: float

    @property
    def fallen(self) -> bool:
        """Return whether a member was much faster before."""
        return any(member.signals is not None and member.signals.counted.fallen for member in self.members)


def group_alike(application: str, contenders: Sequence[Contender]) -> list[Group]:
    """Return the groups, that of the greatest capacity first; the order of contenders does not matter."""
    ordered = sorted(estimate(contenders), key=lambda each: (-each.slots, -each.speed, each.contender.id))
    parts: list[list[Capacity]] = []
    for capacity in ordered:
        for part in parts:
            if _alike(part[0], capacity):
                part.append(capacity)
                break
        else:
            parts.append([capacity])
    parts.sort(key=lambda part: (-sum(each.slots * each.speed for each in part), part[0].contender.id))
    return [_group(name, part) for name, part in zip(_names(application, parts), parts, strict=True)]


def estimate(contenders: Sequence[Contender]) -> list[Capacity]:
    """Return the capacity of each contender. What is unknown of a replica is taken from its peers.

    A replica whose slots are unknown never had to let a request wait, so it has as many as the largest of its peers,
    and as many as were seen running at any such replica. An unknown speed is that of replicas with as many slots.
    Speeds are in the unit in which most are known, so that they can be compared with each other.
    """
    tokens = _speeds(contenders, Unit.TOKENS)
    requests = tokens if None not in tokens else _speeds(contenders, Unit.REQUESTS)
    speeds = requests if requests.count(None) < tokens.count(None) else tokens
    known = [
        each.known_slots(measured=token is not None or request is not None)
        for each, token, request in zip(contenders, tokens, requests, strict=True)
    ]
    seen = [each.most_running if own is None else own for each, own in zip(contenders, known, strict=True)]
    assumed = max([*seen, UNKNOWN_SLOTS])
    slots = [own or assumed for own in known]
    return [
        Capacity(each, count, _peers_speed(count, slots, speeds), measured=False)
        if speed is None
        else Capacity(each, count, speed, measured=True)
        for each, count, speed in zip(contenders, slots, speeds, strict=True)
    ]


def _speeds(contenders: Sequence[Contender], unit: Unit) -> list[float | None]:
    """Return the speed of each in this unit; None if it is unknown."""
    return [None if each.signals is None else each.signals.speed(unit) for each in contenders]


def _peers_speed(slots: float, all_slots: Sequence[float], speeds: Sequence[float | None]) -> float:
    known = [(speed, count) for speed, count in zip(speeds, all_slots, strict=True) if speed is not None]
    peers = [speed for speed, count in known if count == slots] or [speed for speed, _ in known]
    return median(peers) if peers else 1.0


def _alike(first: Capacity, other: Capacity) -> bool:
    mine, theirs = other.contender, first.contender
    together = mine.group is not None and mine.group == theirs.group
    tolerance = PART_FACTOR if together else JOIN_FACTOR
    if _ratio(other.speed, first.speed) > tolerance:
        return False
    if mine.slots and theirs.slots:
        return mine.slots == theirs.slots
    return _ratio(other.slots, first.slots) <= tolerance


def _ratio(a: float, b: float) -> float:
    return a / b if a > b else b / a


def _names(application: str, parts: Sequence[Sequence[Capacity]]) -> list[str]:
    """Return a name for each part: the one that most of its members had, else the first free one.

    The first name is the application's own; further ones have a number after a slash, which no application's name has.
    """
    names: list[str] = []
    for part in parts:
        before = [capacity.contender.group for capacity in part]
        first = before[0]
        if (
            first is not None
            and before.count(first) == len(before)
            and _is_name(first, application)
            and first not in names
        ):
            names.append(first)  # nearly always
            continue
        own = [name for name in set(before) if name not in names and _is_name(name, application)]
        names.append(max(own, key=lambda name: (before.count(name), name), default="") or "")
    free = (name for number in numbers(1) if (name := _name(application, number)) not in names)
    return [name or next(free) for name in names]


def _name(application: str, number: int) -> str:
    return application if number == 1 else f"{application}/{number}"


def _is_name(name: str | None, application: str) -> bool:
    return name is not None and name.partition("/")[0] == application


def _group(name: str, part: Sequence[Capacity]) -> Group:
    measured = [capacity.speed for capacity in part if capacity.measured] or [capacity.speed for capacity in part]
    return Group(
        name,
        tuple(capacity.contender for capacity in part),
        slots=sum(capacity.slots for capacity in part),
        speed=sum(measured) / len(measured),
    )
