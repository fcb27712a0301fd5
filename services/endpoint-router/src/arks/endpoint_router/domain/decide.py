"""Taking a decision: shares first, then who can take requests at all, then load."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from arks.endpoint_router.domain.decision import Candidate, Decision, Portion, Reason, Source
from arks.endpoint_router.domain.load import Signals, doubt
from arks.endpoint_router.domain.replicas import Application, Replica, ReplicaId, State, usable_address
from arks.endpoint_router.domain.scores import Contender, scores
from arks.endpoint_router.domain.shares import EndpointSpec, Share, shares

WHOLE = 100_000
"""Sum of all weights of an endpoint, give or take rounding: a weight of 1,000 is one percent of the traffic."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision depends on."""

    applications: Mapping[str, Application]
    """Those of the endpoint's namespace, by name."""
    signals: Mapping[ReplicaId, Signals] = field(default_factory=dict)
    before: Mapping[ReplicaId, float] = field(default_factory=dict)
    """Scores of the last decision."""
    now: float = 0.0
    """Seconds since the epoch."""


def decide(spec: EndpointSpec, facts: Facts) -> Decision:
    """The same facts give the same decision, wherever and in whatever order they came in."""
    found = shares(spec, facts.applications)
    excluded = _exclude(found.shares, facts.applications)
    able = {
        share.application: [one for one in facts.applications[share.application].replicas if one.id not in excluded]
        for share in found.shares
    }
    total = sum(share.weight for share in found.shares if able[share.application])
    portions = tuple(
        Portion(
            share=share,
            part=share.weight / total if able[share.application] else 0.0,
            ready=len(able[share.application]),
            replicas=len(facts.applications[share.application].replicas),
        )
        for share in found.shares
    )
    candidates = [
        candidate
        for portion in portions
        for candidate in _candidates(portion, able[portion.share.application], excluded, facts)
    ]
    reason, message = _summary(spec, portions)
    return Decision(
        endpoint=f"{spec.namespace}/{spec.name}",
        now=facts.now,
        reason=reason,
        message=message,
        source=_source(candidates, found.differ),
        portions=portions,
        candidates=tuple(sorted(candidates, key=lambda one: one.replica.id)),
        unrouted=found.unrouted,
    )


def _exclude(found: Iterable[Share], applications: Mapping[str, Application]) -> dict[ReplicaId, str]:
    """Who gets no traffic, and why. An address that two replicas claim counts once, for a ready one if there is one:
    Envoy would refuse the second."""
    weights = {share.application: share.weight for share in found}
    replicas = [replica for name in weights for replica in applications[name].replicas]
    excluded: dict[ReplicaId, str] = {}
    taken: set[tuple[str, int]] = set()
    for replica in sorted(replicas, key=lambda one: (one.state is not State.READY, one.id)):
        reason = _unfit(replica, weights[replica.id.application])
        if not reason and (replica.host, replica.port) in taken:
            reason = f"another replica has its address {replica.address}"
        if reason:
            excluded[replica.id] = reason
        else:
            taken.add((replica.host, replica.port))
    return excluded


def _unfit(replica: Replica, weight: int) -> str:
    if replica.state is State.STARTING:
        return "starting: its model has not answered yet"
    if replica.state is State.FAILED:
        return "failed"
    if replica.state is State.DRAINING:
        return "draining: it finishes what it has"
    if not usable_address(replica):
        return f"'{replica.address}' is not an IP address and port"
    return f"application {replica.id.application} has weight 0" if weight == 0 else ""


def _candidates(
    portion: Portion, able: Sequence[Replica], excluded: Mapping[ReplicaId, str], facts: Facts
) -> list[Candidate]:
    doubts = {one.id: doubt(facts.signals.get(one.id), facts.now, len(able)) for one in able}
    compared = scores(
        [
            Contender(one.id, _places(one, facts), facts.signals.get(one.id), doubts[one.id], facts.before.get(one.id))
            for one in able
        ]
    )
    whole = math.fsum(score.value for score in compared.values())

    def candidate(replica: Replica) -> Candidate:
        score = compared.get(replica.id)
        weight = 0 if score is None else max(1, round(WHOLE * portion.part * score.value / whole))
        signals = facts.signals.get(replica.id)
        reason = excluded.get(replica.id, "")
        return Candidate(replica, weight, score, signals, doubts.get(replica.id), len(able), reason)

    return [candidate(replica) for replica in facts.applications[portion.share.application].replicas]


def _places(replica: Replica, facts: Facts) -> int:
    """As the application says, else as the engine does; 0 when nobody knows."""
    signals = facts.signals.get(replica.id)
    return replica.slots or (signals.reading.slots if signals is not None else 0)


def _summary(spec: EndpointSpec, portions: Sequence[Portion]) -> tuple[Reason, str]:
    if not portions:
        return Reason.NO_APPLICATION, f"no application serves the model {spec.name} in namespace {spec.namespace}"
    names = ", ".join(
        f"{portion.share.application} ({portion.ready} of {portion.replicas} replicas ready, {portion.part:.0%})"
        for portion in portions
    )
    if any(portion.ready for portion in portions):
        return Reason.ROUTED, f"requests go to {names}"
    unwanted = [portion.share.application for portion in portions if portion.share.weight == 0]
    hint = f"; weight 0: {', '.join(unwanted)}" if unwanted else ""
    return Reason.NO_READY_REPLICAS, f"no replica can take a request: {names}{hint}"


def _source(candidates: Sequence[Candidate], shares_differ: bool) -> Source:
    compared = [one for one in candidates if one.score is not None]
    if any(one.doubt is None for one in compared):
        return Source.ENGINE
    slots = {one.replica.slots for one in compared}
    by_places = len(slots) > 1 and 0 not in slots
    return Source.STATIC if shares_differ or by_places else Source.EQUAL
