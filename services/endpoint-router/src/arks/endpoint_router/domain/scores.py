"""How the replicas of one application compare: 1 is an even share, 2 twice that.

Capacity comes first (speed times places), then queues that stay: a replica with work waiting gets less. Replicas that
differ by little are made equal, because a difference of some percent is noise, and equal ones Envoy balances by picking
the less busy of two. Scores move in small steps.

Envoy divides a weight by (requests under way + 1)^2 (the cluster says so), which makes it compare capacity for each
request when weights are squares of capacities. Simulated with exponential requests on two places a replica, three fast
replicas and one at a quarter of their speed, 91 % loaded: the slowest 1 % of requests wait 18 s (best possible: 18),
26 s with weights in proportion and an exponent of 1, 68 s with equal weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from arks.endpoint_router.domain.load import Signals, Unit
from arks.endpoint_router.domain.replicas import ReplicaId

SHARPNESS = 2
"""Exponent of capacities in scores; that of requests under way in Envoy's cluster has to be the same."""
STEP = 1.5
"""A score changes by at most this factor at once, so a wrong reading does little before the next one corrects it."""
JOIN = 1.25
"""Replicas within this factor are treated as equal."""
LEAVE = 1.75
"""Those that were equal stay so up to this factor, so that noise does not part and join them again and again."""
KEEP = 0.1
"""A change smaller than this is not worth telling Envoy."""
LARGEST = 64.0
"""No replica gets more than this many even shares, nor less than one part in as many."""
BACKLOG_SECONDS = 5.0
"""A queue that takes this long to work off halves the capacity."""
KV_FULL = 0.9
"""From this KV-cache use on engines begin to preempt requests; at 1 the capacity is halved."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A ready replica as it enters the comparison."""

    id: ReplicaId
    slots: int
    signals: Signals | None
    doubt: str | None
    """Why its signals cannot be used; None when they can."""
    before: float | None
    """Its score until now; None for a new replica."""


@dataclass(frozen=True, slots=True)
class Score:
    value: float
    target: float
    """Where it is going; equal to `value` when there."""


def scores(contenders: Sequence[Contender]) -> dict[ReplicaId, Score]:
    """A score for each; the order of the arguments does not matter."""
    if not contenders:
        return {}
    merits = _merits(contenders)
    ordered = sorted(contenders, key=lambda one: (-merits[one.id], one.doubt is not None, one.id))
    groups = [(group, _strength(group, merits)) for group in _alike(ordered, merits)]
    mean = math.fsum(strength * len(group) for group, strength in groups) / len(contenders)
    settled: dict[ReplicaId, Score] = {}
    for group, strength in groups:
        target = 1.0 if len(groups) == 1 else min(max(strength / mean, 1 / LARGEST), LARGEST)
        settled |= _move(group, round(target, 3))
    return settled


def _strength(group: Sequence[Contender], merits: dict[ReplicaId, float]) -> float:
    """What each of the group counts for."""
    return float((math.fsum(merits[one.id] for one in group) / len(group)) ** SHARPNESS)


def backlog_seconds(signals: Signals) -> float:
    """How long the replica needs for what waits in it; a second a request while its drain rate is unknown."""
    return signals.mean_waiting / (signals.reading.drain_rate or 1.0)


def _merits(contenders: Sequence[Contender]) -> dict[ReplicaId, float]:
    """What each could take on, in any unit. One without signals counts for no more than one that is known to idle."""
    places = {one.id: one.slots for one in contenders}
    if not all(places.values()):
        places = dict.fromkeys(places, 1)
    measured = [(one, one.signals) for one in contenders if one.doubt is None and one.signals is not None]
    speeds = _speeds(measured)
    typical = median(speeds.values()) if speeds else 1.0
    merits = {one.id: places[one.id] * speeds.get(one.id, typical) * _ease(signals) for one, signals in measured}
    if not merits:
        return {id_: float(slots) for id_, slots in places.items()}
    idle = [merits[one.id] for one, signals in measured if signals.reading.idle]
    cautious = min([median(merits.values()), *idle])
    return merits | {one.id: cautious for one in contenders if one.id not in merits}


def _speeds(measured: Sequence[tuple[Contender, Signals]]) -> dict[ReplicaId, float]:
    """Speeds that can be compared with each other: in the unit in which most are known."""
    known = [
        {one.id: speed for one, signals in measured if (speed := signals.speed(unit)) is not None} for unit in Unit
    ]
    return max(known, key=len)


def _ease(signals: Signals) -> float:
    """1 for a replica without pressure, less the longer its queue and the fuller its KV cache."""
    ease = 1 / (1 + backlog_seconds(signals) / BACKLOG_SECONDS)
    over = min(signals.reading.kv_usage or 0.0, 1.0) - KV_FULL
    return ease if over <= 0 else ease * (1 - 0.5 * over / (1 - KV_FULL))


def _alike(ordered: Sequence[Contender], merits: dict[ReplicaId, float]) -> list[list[Contender]]:
    """Neighbours in `ordered` that are treated as equal, best first."""
    groups: list[list[Contender]] = []
    for one in ordered:
        first = groups[-1][0] if groups else None
        if first is not None and merits[first.id] <= merits[one.id] * _tolerance(first, one):
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _tolerance(first: Contender, one: Contender) -> float:
    return LEAVE if one.before is not None and one.before == first.before else JOIN


def _move(group: Sequence[Contender], target: float) -> dict[ReplicaId, Score]:
    """Keep what is nearly right, else one step towards the target. A new replica starts where its group is."""
    known = {one.before for one in group if one.before is not None}
    if len(known) == 1 and abs(target / min(known) - 1) <= KEEP:
        target = min(known)
    return {one.id: Score(_step(one.before, target), target) for one in group}


def _step(before: float | None, target: float) -> float:
    if before is None:
        return target
    return round(min(max(target, before / STEP), before * STEP), 3)
