"""Group the replicas of one application that are alike: same slots, and speeds within a tolerance.

A group is a locality in Envoy. Inside it all weights are equal, so Envoy sends each request to the replica with the
fewest in flight, counting its own requests at the moment it decides. With unequal weights it schedules replicas by
deadline instead, which knows nothing of queues.

A replica that changes its group is a new host for Envoy: its connections are made again, and its requests in flight
count from 0. So the tolerance for parting is wider than that for joining.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
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

    @property
    def known_slots(self) -> float | None:
        if self.slots:
            return float(self.slots)
        found = self.signals.observed_slots.full_at if self.signals is not None else None
        return found if found is not None and self._has_worked else None

    @property
    def _has_worked(self) -> bool:
        """Return whether its speed is known or it worked lately: neither a page of zeros nor one that was frozen from
        its first reading on, with a queue on it, must fix a share by slots."""
        signals = self.signals
        if signals is None:
            return False
        measured = signals.speed(Unit.TOKENS) is not None or signals.speed(Unit.REQUESTS) is not None
        lately = signals.reading.measured_at - signals.busy_at <= IDLE_SECONDS
        return measured or (lately and frozen(signals) is None)

    @property
    def most_running(self) -> float:
        return self.signals.observed_slots.most_running if self.signals is not None else 0.0


class Capacity(Struct, frozen=True, gc=False):
    """What one replica can do at the same time, and how fast."""

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
    capacities = estimate(contenders)
    ordered = sorted(
        contenders,
        key=lambda contender: (-capacities[contender.id].slots, -capacities[contender.id].speed, contender.id),
    )
    parts: list[list[Contender]] = []
    for contender in ordered:
        alike = (part for part in parts if _alike(part[0], contender, capacities))
        if (found := next(alike, None)) is not None:
            found.append(contender)
        else:
            parts.append([contender])
    parts.sort(key=lambda part: (-sum(_product(capacities[member.id]) for member in part), part[0].id))
    names = _names(application, parts)
    return [_group(name, part, capacities) for name, part in zip(names, parts, strict=True)]


def estimate(contenders: Sequence[Contender]) -> dict[ReplicaId, Capacity]:
    """Return the capacity of each contender. What is unknown of a replica is taken from its peers.

    A replica whose slots are unknown never had to let a request wait, so it has as many as the largest of its peers,
    and as many as were seen running at any such replica. An unknown speed is that of replicas with as many slots.
    """
    known = [contender.known_slots for contender in contenders]
    seen = [each.most_running if own is None else own for each, own in zip(contenders, known, strict=True)]
    assumed = max([*seen, UNKNOWN_SLOTS])
    slots = {each.id: own or assumed for each, own in zip(contenders, known, strict=True)}
    speeds = _speeds(contenders)
    return {
        id_: Capacity(count, speeds[id_], measured=True)
        if id_ in speeds
        else Capacity(count, _peers_speed(count, slots, speeds), measured=False)
        for id_, count in slots.items()
    }


def _speeds(contenders: Sequence[Contender]) -> dict[ReplicaId, float]:
    """Return speeds that can be compared with each other: in the unit in which most are known."""

    def known(unit: Unit) -> dict[ReplicaId, float]:
        found = {each.id: each.signals.speed(unit) for each in contenders if each.signals is not None}
        return {id_: speed for id_, speed in found.items() if speed is not None}

    tokens = known(Unit.TOKENS)
    return tokens if len(tokens) == len(contenders) else max(tokens, known(Unit.REQUESTS), key=len)


def _peers_speed(slots: float, all_slots: Mapping[ReplicaId, float], speeds: Mapping[ReplicaId, float]) -> float:
    peers = [speed for id_, speed in speeds.items() if all_slots[id_] == slots] or list(speeds.values())
    return median(peers) if peers else 1.0


def _alike(first: Contender, contender: Contender, capacities: Mapping[ReplicaId, Capacity]) -> bool:
    mine, theirs = capacities[contender.id], capacities[first.id]
    together = contender.group is not None and contender.group == first.group
    tolerance = PART_FACTOR if together else JOIN_FACTOR
    if contender.slots and first.slots:
        same_slots = contender.slots == first.slots
    else:
        same_slots = _ratio(mine.slots, theirs.slots) <= tolerance
    return same_slots and _ratio(mine.speed, theirs.speed) <= tolerance


def _ratio(a: float, b: float) -> float:
    return max(a, b) / min(a, b)


def _product(capacity: Capacity) -> float:
    return capacity.slots * capacity.speed


def _names(application: str, parts: Sequence[Sequence[Contender]]) -> list[str]:
    """Return a name for each part: the one that most of its members had, else the first free one.

    The first name is the application's own; further ones have a number after a slash, which no application's name has.
    """
    names: list[str] = []
    for part in parts:
        before = [member.group for member in part if _is_name(member.group, application)]
        own = Counter(name for name in before if name is not None and name not in names)
        names.append(max(own, key=lambda name: (own[name], name)) if own else "")
    free = (name for number in numbers(1) if (name := _name(application, number)) not in names)
    return [name or next(free) for name in names]


def _name(application: str, number: int) -> str:
    return application if number == 1 else f"{application}/{number}"


def _is_name(name: str | None, application: str) -> bool:
    return name is not None and name.partition("/")[0] == application


def _group(name: str, members: Sequence[Contender], capacities: Mapping[ReplicaId, Capacity]) -> Group:
    own = [capacities[member.id] for member in members]
    measured = [capacity.speed for capacity in own if capacity.measured] or [capacity.speed for capacity in own]
    return Group(
        name,
        tuple(members),
        slots=sum(capacity.slots for capacity in own),
        speed=sum(measured) / len(measured),
    )
