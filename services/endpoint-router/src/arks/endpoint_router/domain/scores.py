"""How the replicas of one application compare: 1 is an even share, 2 twice that.

Capacity comes first (speed times places), then queues: a replica with work waiting gets less. Replicas that differ by
little are made equal, because Envoy balances equal ones best (it picks the less busy of two), and because a difference
of some percent is noise. Scores move in small steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from arks.endpoint_router.domain.load import Reading, Signals
from arks.endpoint_router.domain.replicas import ReplicaId

STEP = 1.25
"""A score changes by at most this factor at once; at four reports a second that is a factor of 2.4 in a second."""
JOIN = 1.25
"""Replicas within this factor are treated as equal."""
LEAVE = 1.6
"""Those that were equal stay so up to this factor, so that noise does not part and join them again and again."""
KEEP = 0.1
"""A change smaller than this is not worth telling Envoy."""
LARGEST = 16.0
"""No replica gets more than this many even shares, nor less than one part in as many."""
BACKLOG_SECONDS = 2.0
"""A queue that takes this long to work off halves the score."""
KV_FULL = 0.9
"""From this KV-cache use on engines begin to preempt requests; at 1 the score is halved."""


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
    mean = math.fsum(merits.values()) / len(merits)
    groups = _alike(ordered, merits)
    settled: dict[ReplicaId, Score] = {}
    for group in groups:
        merit = math.fsum(merits[one.id] for one in group) / len(group)
        target = 1.0 if len(groups) == 1 else min(max(merit / mean, 1 / LARGEST), LARGEST)
        settled |= _move(group, round(target, 3))
    return settled


def backlog_seconds(reading: Reading) -> float:
    """How long the replica needs for what waits in it; a second a request while its drain rate is unknown."""
    return (reading.waiting or 0.0) / (reading.drain_rate or 1.0)


def _merits(contenders: Sequence[Contender]) -> dict[ReplicaId, float]:
    """What each could take on, in any unit. One without signals counts for no more than one that is known to idle."""
    places = {one.id: one.slots for one in contenders}
    if not all(places.values()):
        places = dict.fromkeys(places, 1)
    measured = [(one, one.signals) for one in contenders if one.doubt is None and one.signals is not None]
    speeds = [signals.speed for _, signals in measured if signals.speed is not None]
    typical = median(speeds) if speeds else 1.0
    merits = {
        one.id: places[one.id] * (typical if signals.speed is None else signals.speed) * _ease(signals.reading)
        for one, signals in measured
    }
    if not merits:
        return {id_: float(slots) for id_, slots in places.items()}
    idle = [merits[one.id] for one, signals in measured if signals.reading.idle]
    cautious = min([median(merits.values()), *idle])
    return merits | {one.id: cautious for one in contenders if one.id not in merits}


def _ease(reading: Reading) -> float:
    """1 for a replica without pressure, less the longer its queue and the fuller its KV cache."""
    ease = 1 / (1 + backlog_seconds(reading) / BACKLOG_SECONDS)
    over = min(reading.kv_usage or 0.0, 1.0) - KV_FULL
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
