"""Compare the replicas of one application: score 1 is an even share of its traffic, 2 is twice that.

Capacity counts first (speed times slots), then queues that stay: a replica with waiting requests gets less. Replicas
that differ by little get equal scores, because a difference of some percent is noise, and between equal ones Envoy
picks the less busy of two. Scores change in small steps.

Envoy divides a weight by (requests in flight + 1)^2 (`least_request_lb_config` of the cluster). With weights that are
squares of capacities it therefore compares capacity for each request. Simulated with exponential request lengths on two
slots a replica, three fast replicas and one at a quarter of their speed, 91 % loaded: the slowest 1 % of requests wait
18 s (best possible: 18), 26 s with weights in proportion and an exponent of 1, 68 s with equal weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from arks.endpoint_router.domain.load import Signals, Unit
from arks.endpoint_router.domain.replicas import ReplicaId

CAPACITY_EXPONENT = 2
"""Scores are capacities to this power; Envoy's exponent of requests in flight (the cluster's) must be the same."""
STEP_FACTOR = 1.5
"""A score changes by at most this factor at once, so a wrong reading does little before the next one corrects it."""
JOIN_FACTOR = 1.25
"""Replicas within this factor are treated as equal."""
PART_FACTOR = 1.75
"""Replicas that were equal stay equal up to this factor, so that noise does not part and join them repeatedly."""
LEAST_CHANGE = 0.1
"""A smaller relative change is not pushed to Envoy."""
LARGEST_SCORE = 64.0
"""Upper bound of a score; its reciprocal is the lower bound."""
BACKLOG_SECONDS = 5.0
"""A queue that takes this long to finish halves the capacity."""
KV_FULL = 0.9
"""Above this KV-cache use engines begin to preempt requests; at 1 the capacity is halved."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A ready replica as it enters the comparison."""

    id: ReplicaId
    slots: int
    """0 if unknown."""
    signals: Signals | None
    doubt: str | None
    """Why its signals cannot be used; None if they can."""
    before: float | None
    """Its score in the last decision; None for a new replica."""


@dataclass(frozen=True, slots=True)
class Score:
    value: float
    target: float
    """The score that `value` approaches step by step."""


def scores(contenders: Sequence[Contender]) -> dict[ReplicaId, Score]:
    """Return a score for each contender; their order does not matter."""
    if not contenders:
        return {}
    capacities = _capacities(contenders)
    ordered = sorted(
        contenders, key=lambda contender: (-capacities[contender.id], contender.doubt is not None, contender.id)
    )
    groups = [(group, _strength(group, capacities)) for group in _group_alike(ordered, capacities)]
    mean = math.fsum(strength * len(group) for group, strength in groups) / len(contenders)
    found: dict[ReplicaId, Score] = {}
    for group, strength in groups:
        target = 1.0 if len(groups) == 1 else min(max(strength / mean, 1 / LARGEST_SCORE), LARGEST_SCORE)
        found |= _move(group, round(target, 3))
    return found


def _strength(group: Sequence[Contender], capacities: dict[ReplicaId, float]) -> float:
    """Return the mean capacity of the group, to the power that scores have."""
    mean = math.fsum(capacities[contender.id] for contender in group) / len(group)
    return float(mean**CAPACITY_EXPONENT)


def backlog_seconds(signals: Signals) -> float:
    """Return how long the replica needs for its queue; a second a request while its drain rate is unknown."""
    return signals.mean_waiting / (signals.reading.drain_rate or 1.0)


def _capacities(contenders: Sequence[Contender]) -> dict[ReplicaId, float]:
    """Return the capacity of each contender, in any unit.

    A replica without usable signals gets no more than one that is measured idle.
    """
    slots = {contender.id: contender.slots for contender in contenders}
    if not all(slots.values()):
        slots = dict.fromkeys(slots, 1)
    measured = {
        contender.id: contender.signals
        for contender in contenders
        if contender.doubt is None and contender.signals is not None
    }
    if not measured:
        return {id_: float(count) for id_, count in slots.items()}
    speeds = _speeds(measured)
    typical = median(speeds.values()) if speeds else 1.0
    capacities = {
        id_: slots[id_] * speeds.get(id_, typical) * _pressure_factor(signals) for id_, signals in measured.items()
    }
    idle = [capacities[id_] for id_, signals in measured.items() if signals.reading.idle]
    cautious = min([median(capacities.values()), *idle])
    return dict.fromkeys(slots, cautious) | capacities


def _speeds(measured: dict[ReplicaId, Signals]) -> dict[ReplicaId, float]:
    """Return speeds that can be compared with each other: in the unit in which most are known."""
    known = [
        {id_: speed for id_, signals in measured.items() if (speed := signals.speed(unit)) is not None} for unit in Unit
    ]
    return max(known, key=len)


def _pressure_factor(signals: Signals) -> float:
    """Return 1 for a replica without pressure, less the longer its queue and the fuller its KV cache."""
    factor = 1 / (1 + backlog_seconds(signals) / BACKLOG_SECONDS)
    over = min(signals.reading.kv_usage or 0.0, 1.0) - KV_FULL
    return factor if over <= 0 else factor * (1 - 0.5 * over / (1 - KV_FULL))


def _group_alike(ordered: Sequence[Contender], capacities: dict[ReplicaId, float]) -> list[list[Contender]]:
    """Group adjacent contenders of `ordered` that are treated as equal, best first."""
    groups: list[list[Contender]] = []
    for contender in ordered:
        first = groups[-1][0] if groups else None
        if first is not None and capacities[first.id] <= capacities[contender.id] * _tolerance(first, contender):
            groups[-1].append(contender)
        else:
            groups.append([contender])
    return groups


def _tolerance(first: Contender, contender: Contender) -> float:
    return PART_FACTOR if contender.before is not None and contender.before == first.before else JOIN_FACTOR


def _move(group: Sequence[Contender], target: float) -> dict[ReplicaId, Score]:
    """Keep scores that are nearly right; move others one step towards the target. A new replica starts at it."""
    known = {contender.before for contender in group if contender.before is not None}
    if len(known) == 1 and abs(target / min(known) - 1) <= LEAST_CHANGE:
        target = min(known)
    return {contender.id: Score(_step(contender.before, target), target) for contender in group}


def _step(before: float | None, target: float) -> float:
    if before is None:
        return target
    return round(min(max(target, before / STEP_FACTOR), before * STEP_FACTOR), 3)
