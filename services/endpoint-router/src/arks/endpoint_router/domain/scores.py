"""Compare the replicas of one application: score 1 is an even share of its traffic, 2 is twice that.

Replicas that are alike form a group and have equal scores. Shares between groups follow capacity, so that requests
wait least (`division`); they do not follow load, so nothing that a replica reports about its present load attracts
traffic: a broken page that shows an idle engine cannot. Load counts twice only, and both times it takes away: a queue
sends new work elsewhere at the next report (`relief`), and a full KV cache lowers the capacity.
"""

import math
from collections.abc import Sequence

from msgspec import Struct

from arks.endpoint_router.domain.division import PROBE_PART, divide
from arks.endpoint_router.domain.groups import Contender, Group, group_alike
from arks.endpoint_router.domain.load import Signals
from arks.endpoint_router.domain.relief import Part, relieve
from arks.endpoint_router.domain.replicas import ReplicaId

LEAST_CHANGE = 0.1
"""A smaller relative change of all shares is not pushed to Envoy."""
FALLEN_PROBE_PART = 0.3
"""The least share, as a part of its proportion, of a group that was faster before: its recovery shows in seconds."""
KV_FULL = 0.9
"""Above this KV-cache use engines begin to preempt requests; at 1 the capacity is halved."""


class Score(Struct, frozen=True, gc=False):
    value: float
    target: float
    """The score that follows from the newest reports; `value` stays while it differs by little."""
    group: str = ""
    share: float = 0.0
    """Of the application's traffic, 0 to 1; the exact form of `value`."""


def scores(application: str, contenders: Sequence[Contender]) -> dict[ReplicaId, Score]:
    """Return a score for each contender; their order does not matter. Shares add up to 1."""
    if not contenders:
        return {}
    groups = group_alike(application, contenders)
    wanted = _shares(groups)
    shares = _steady(groups, wanted)
    found: dict[ReplicaId, Score] = {}
    count = len(contenders)
    for group, share, target in zip(groups, shares, wanted, strict=True):
        size = len(group.members)
        score = Score(round(count * share / size, 3), round(count * target / size, 3), group.name, share / size)
        found |= {member.id: score for member in group.members}
    return found


def backlog_seconds(signals: Signals) -> float:
    """Return how long the replica needs for its queue; a second a request while its drain rate is unknown."""
    return signals.mean_waiting / (signals.reading.drain_rate or 1.0)


def _shares(groups: Sequence[Group]) -> list[float]:
    if len(groups) == 1:
        return [1.0]
    known = [_known(group) for group in groups]
    capacities = [(group.slots, group.speed * _kv_factor(each)) for group, each in zip(groups, known, strict=True)]
    probes = [FALLEN_PROBE_PART if group.fallen else PROBE_PART for group in groups]
    divided = divide(capacities, _utilisation(groups, known), probes)
    waiting = [math.fsum(signals.reading.waiting or 0.0 for signals in each) for each in known]
    if not any(waiting):
        return list(divided)  # relief moves requests away from queues only
    whole = math.fsum(slots * speed for slots, speed in capacities)
    parts = [
        Part(share, slots * speed / whole, queue, _free(group, each))
        for share, group, (slots, speed), queue, each in zip(divided, groups, capacities, waiting, known, strict=True)
    ]
    return relieve(parts, _used(groups, known), _arrivals(known))


def _known(group: Group) -> list[Signals]:
    """Return the signals without doubt: others show neither a load nor a queue nor free slots."""
    return [member.signals for member in group.members if member.doubt is None and member.signals is not None]


def _utilisation(groups: Sequence[Group], known: Sequence[Sequence[Signals]]) -> float:
    """Return load divided by capacity, of the replicas whose load is known; 1 if it is known of none."""
    load = capacity = 0.0
    for group, all_signals in zip(groups, known, strict=True):
        speed, each_capacity = group.speed, group.slots / len(group.members) * group.speed
        for signals in all_signals:
            load += signals.mean_in_flight * speed
            capacity += each_capacity
    return load / capacity if capacity else 1.0


def _used(groups: Sequence[Group], known: Sequence[Sequence[Signals]]) -> float:
    """Return used slots as a part of all, by speed, of the replicas whose load is known; 1 if it is known of none."""
    used = capacity = 0.0
    for group, all_signals in zip(groups, known, strict=True):
        slots = group.slots / len(group.members)
        for signals in all_signals:
            used += min(signals.mean_in_flight, slots) * group.speed
            capacity += slots * group.speed
    return used / capacity if capacity else 1.0


def _arrivals(known: Sequence[Sequence[Signals]]) -> float:
    """Return requests a second; where they are unknown, as many as are in flight: as if each took a second."""
    return math.fsum(
        signals.reading.in_flight if signals.arrivals is None else signals.arrivals
        for all_signals in known
        for signals in all_signals
    )


def _free(group: Group, known: Sequence[Signals]) -> float:
    """Return the slots without a request. A replica that never made a request wait has room for more than it showed."""
    slots = group.slots / len(group.members)
    return math.fsum(max(0.0, slots - signals.reading.in_flight) for signals in known)


def _kv_factor(known: Sequence[Signals]) -> float:
    """Return 1, or less if the KV caches of the group are nearly full on average."""
    used = [min(signals.reading.kv_usage or 0.0, 1.0) for signals in known]
    over = sum(used) / len(used) - KV_FULL if used else 0.0
    return 1.0 if over <= 0 else 1 - 0.5 * over / (1 - KV_FULL)


def _steady(groups: Sequence[Group], wanted: list[float]) -> list[float]:
    """Return the shares of the last decision if they are nearly right for the same groups, else the wanted ones."""
    before = [_before(group) for group in groups]
    held = [share for share in before if share is not None]
    if len(held) < len(groups) or not math.isclose(math.fsum(held), 1.0, abs_tol=1e-6):
        return wanted
    near = all(abs(new / old - 1) <= LEAST_CHANGE for new, old in zip(wanted, held, strict=True) if old)
    return held if near and all(held) else wanted


def _before(group: Group) -> float | None:
    """Return the share that exactly these members had as this group; None if the group has changed."""
    shares = [member.share for member in group.members if member.share is not None and member.group == group.name]
    return math.fsum(shares) if len(shares) == len(group.members) else None
