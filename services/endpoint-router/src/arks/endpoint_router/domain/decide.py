"""Take a decision: first shares, then which replicas can get traffic at all, then load."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain.decision import Candidate, Decision, Portion, Reason, Source
from arks.endpoint_router.domain.load import Signals, doubt
from arks.endpoint_router.domain.replicas import Application, ReplicaId, RoutedReplica, usable_address
from arks.endpoint_router.domain.scores import Contender, scores
from arks.endpoint_router.domain.shares import EndpointSpec, Share, shares

WEIGHT_TOTAL = 100_000
"""Sum of all weights of an endpoint, up to rounding: a weight of 1,000 is one percent of the traffic."""


@dataclass(frozen=True, slots=True)
class DecisionInput:
    """Everything that a decision depends on, besides the endpoint's spec."""

    applications: Mapping[str, Application]
    """Those of the endpoint's namespace, by name."""
    signals: Mapping[ReplicaId, Signals] = field(default_factory=dict)
    before: Mapping[ReplicaId, float] = field(default_factory=dict)
    """Scores of the last decision."""
    now: float = 0.0
    """Seconds since the epoch."""


def decide(spec: EndpointSpec, inputs: DecisionInput) -> Decision:
    """Return the decision. Equal inputs give equal decisions, in every router and in whatever order they arrived."""
    found = shares(spec, inputs.applications)
    excluded = _exclude(found.shares, inputs.applications)
    eligible = {
        share.application: [
            replica for replica in inputs.applications[share.application].replicas if replica.id not in excluded
        ]
        for share in found.shares
    }
    portions = _portions(found.shares, eligible, inputs.applications)
    candidates = [
        candidate
        for portion in portions
        for candidate in _candidates(portion, eligible[portion.share.application], excluded, inputs)
    ]
    reason, message = _summary(spec, portions)
    return Decision(
        endpoint=f"{spec.namespace}/{spec.name}",
        now=inputs.now,
        reason=reason,
        message=message,
        source=_source(candidates, found.differ),
        portions=portions,
        candidates=tuple(sorted(candidates, key=lambda candidate: candidate.replica.id)),
        unrouted=found.unrouted,
    )


def _exclude(found: Iterable[Share], applications: Mapping[str, Application]) -> dict[ReplicaId, str]:
    """Return the replicas that get no traffic, each with the reason.

    Of several replicas with the same address one counts, a ready one if possible: Envoy would reject the second.
    """
    weights = {share.application: share.weight for share in found}
    replicas = [replica for name in weights for replica in applications[name].replicas]
    excluded: dict[ReplicaId, str] = {}
    used: set[tuple[str, int]] = set()
    for replica in sorted(replicas, key=lambda replica: (replica.state is not ReplicaState.READY, replica.id)):
        reason = _exclusion_reason(replica, weights[replica.id.application])
        if not reason and (replica.host, replica.port) in used:
            reason = f"another replica has its address {replica.address}"
        if reason:
            excluded[replica.id] = reason
        else:
            used.add((replica.host, replica.port))
    return excluded


def _exclusion_reason(replica: RoutedReplica, weight: int) -> str:
    if replica.state is ReplicaState.STARTING:
        return "starting: its model has not answered yet"
    if replica.state is ReplicaState.FAILED:
        return "failed"
    if replica.state is ReplicaState.DRAINING:
        return "draining: it finishes what it has"
    if not usable_address(replica):
        return f"'{replica.address}' is not an IP address and port"
    return f"application {replica.id.application} has weight 0" if weight == 0 else ""


def _portions(
    found: Sequence[Share],
    eligible: Mapping[str, Sequence[RoutedReplica]],
    applications: Mapping[str, Application],
) -> tuple[Portion, ...]:
    total = sum(share.weight for share in found if eligible[share.application])
    return tuple(
        Portion(
            share=share,
            fraction=share.weight / total if eligible[share.application] else 0.0,
            ready=len(eligible[share.application]),
            replicas=len(applications[share.application].replicas),
        )
        for share in found
    )


def _candidates(
    portion: Portion,
    eligible: Sequence[RoutedReplica],
    excluded: Mapping[ReplicaId, str],
    inputs: DecisionInput,
) -> list[Candidate]:
    doubts = {replica.id: doubt(inputs.signals.get(replica.id), inputs.now, len(eligible)) for replica in eligible}
    compared = scores([_contender(replica, doubts[replica.id], inputs) for replica in eligible])
    total = math.fsum(score.value for score in compared.values())

    def candidate(replica: RoutedReplica) -> Candidate:
        score = compared.get(replica.id)
        return Candidate(
            replica=replica,
            weight=0 if score is None else max(1, round(WEIGHT_TOTAL * portion.fraction * score.value / total)),
            score=score,
            signals=inputs.signals.get(replica.id),
            doubt=doubts.get(replica.id),
            peers=len(eligible),
            excluded=excluded.get(replica.id, ""),
        )

    return [candidate(replica) for replica in inputs.applications[portion.share.application].replicas]


def _contender(replica: RoutedReplica, doubt_: str | None, inputs: DecisionInput) -> Contender:
    return Contender(
        id=replica.id,
        slots=_slots(replica, inputs),
        signals=inputs.signals.get(replica.id),
        doubt=doubt_,
        before=inputs.before.get(replica.id),
    )


def _slots(replica: RoutedReplica, inputs: DecisionInput) -> int:
    """Return the slots in the application's fact, else those that the engine reports; 0 if both are unknown."""
    signals = inputs.signals.get(replica.id)
    return replica.slots or (signals.reading.slots if signals is not None else 0)


def _summary(spec: EndpointSpec, portions: Sequence[Portion]) -> tuple[Reason, str]:
    if not portions:
        return Reason.NO_APPLICATION, f"no application serves the model {spec.name} in namespace {spec.namespace}"
    names = ", ".join(
        f"{portion.share.application} ({portion.ready} of {portion.replicas} replicas ready, {portion.fraction:.0%})"
        for portion in portions
    )
    if any(portion.ready for portion in portions):
        return Reason.ROUTED, f"requests go to {names}"
    weightless = [portion.share.application for portion in portions if portion.share.weight == 0]
    hint = f"; weight 0: {', '.join(weightless)}" if weightless else ""
    return Reason.NO_READY_REPLICAS, f"no ready replicas: {names}{hint}"


def _source(candidates: Sequence[Candidate], shares_differ: bool) -> Source:
    compared = [candidate for candidate in candidates if candidate.score is not None]
    if any(candidate.doubt is None for candidate in compared):
        return Source.ENGINE
    slots = {candidate.replica.slots for candidate in compared}
    by_slots = len(slots) > 1 and 0 not in slots
    return Source.STATIC if shares_differ or by_slots else Source.EQUAL
