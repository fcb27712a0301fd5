"""Compare the replicas of one application: score 1 is an even share of its traffic, 2 is twice that.

Replicas that are alike form a group and have equal scores. Shares between groups follow capacity, so that requests
wait least (`division`); they do not follow load, so nothing that a replica reports about its present load attracts
traffic: a broken page that shows an idle engine cannot. Load counts twice only, and both times it takes away: a queue
sends new work elsewhere at the next report, and a full KV cache lowers the capacity.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from arks.endpoint_router.domain.division import PROBE_PART, divide
from arks.endpoint_router.domain.groups import Contender, Group, group_alike
from arks.endpoint_router.domain.load import Signals
from arks.endpoint_router.domain.replicas import ReplicaId

LEAST_CHANGE = 0.1
"""A smaller relative change of all shares is not pushed to Envoy."""
QUEUE_PART = 0.25
"""A group whose queue is longer than those of the others by this part of its slots gets no new requests."""
QUEUED_SHARE = 1e-3
"""What is left of its share then: a ready replica always gets some traffic."""
FALLEN_PROBE_PART = 0.3
"""The least share, as a part of its proportion, of a group that was faster before: its recovery shows in seconds."""
FULL_PART = 0.95
"""A group takes over work of others until it is used to this part."""
KV_FULL = 0.9
"""Above this KV-cache use engines begin to preempt requests; at 1 the capacity is halved."""


@dataclass(frozen=True, slots=True)
class Score:
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
    count = len(contenders)
    return {
        member.id: Score(
            round(count * share / len(group.members), 3),
            round(count * target / len(group.members), 3),
            group.name,
            share / len(group.members),
        )
        for group, share, target in zip(groups, shares, wanted, strict=True)
        for member in group.members
    }


def backlog_seconds(signals: Signals) -> float:
    """Return how long the replica needs for its queue; a second a request while its drain rate is unknown."""
    return signals.mean_waiting / (signals.reading.drain_rate or 1.0)


def _shares(groups: Sequence[Group]) -> list[float]:
    if len(groups) == 1:
        return [1.0]
    capacities = [(group.slots, group.speed * _kv_factor(group)) for group in groups]
    utilisation = _utilisation(groups)
    probes = [FALLEN_PROBE_PART if group.fallen else PROBE_PART for group in groups]
    divided = divide(capacities, utilisation, probes)
    return relieve(divided, capacities, utilisation, [_queue_part(group) for group in groups])


def relieve(
    divided: Sequence[float], capacities: Sequence[tuple[float, float]], utilisation: float, queues: Sequence[float]
) -> list[float]:
    """Return the shares after groups with long queues have passed a part of theirs to those without.

    A group takes over no more than its slots can work on: the queue of a large group would bury a small one within one
    report. What is left goes to the group of the greatest capacity, where it is spread over the most slots. `queues`:
    waiting requests as a part of the group's slots.
    """
    whole = math.fsum(slots * speed for slots, speed in capacities)
    least = min(queues)
    found = [
        share * max(QUEUED_SHARE, 1 - (queue - least) / QUEUE_PART)
        for share, queue in zip(divided, queues, strict=True)
    ]
    room = [
        max(0.0, FULL_PART * slots * speed / whole / max(utilisation, FULL_PART) - share) if share == before else 0.0
        for share, before, (slots, speed) in zip(found, divided, capacities, strict=True)
    ]
    passed = 1 - math.fsum(found)
    taken = min(1.0, passed / total) if (total := math.fsum(room)) else 0.0
    found = [share + taken * free for share, free in zip(found, room, strict=True)]
    greatest = max(range(len(found)), key=lambda number: (math.prod(capacities[number]), -number))
    found[greatest] += 1 - math.fsum(found)
    return found


def _utilisation(groups: Sequence[Group]) -> float:
    """Return load divided by capacity, of the replicas whose load is known; 1 if it is known of none."""
    load = capacity = 0.0
    for group in groups:
        for member in group.members:
            if member.doubt is None and member.signals is not None:
                load += member.signals.mean_in_flight * group.speed
                capacity += group.slots / len(group.members) * group.speed
    return load / capacity if capacity else 1.0


def _queue_part(group: Group) -> float:
    """Return the waiting requests of a group as a part of its slots. A reading in doubt has no queue."""
    waiting = math.fsum(
        member.signals.reading.waiting or 0.0
        for member in group.members
        if member.doubt is None and member.signals is not None
    )
    return waiting / group.slots


def _kv_factor(group: Group) -> float:
    """Return 1, or less if the KV caches of the group are nearly full on average."""
    used = [
        min(member.signals.reading.kv_usage or 0.0, 1.0)
        for member in group.members
        if member.doubt is None and member.signals is not None
    ]
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
