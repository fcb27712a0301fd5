"""Take a decision: first shares, then which replicas can get traffic at all, then load."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from arks.contracts.facts import ReplicaState
from arks.contracts.uses import HANG_UP
from arks.endpoint_router.domain.decision import Candidate, Decision, Portion, Reason, RoutedGroup, Source
from arks.endpoint_router.domain.groups import Contender
from arks.endpoint_router.domain.limits import Limits, Load, limits
from arks.endpoint_router.domain.load import FORGET_SECONDS, Signals, doubt
from arks.endpoint_router.domain.replicas import Application, ReplicaId, RoutedReplica, usable_address
from arks.endpoint_router.domain.scores import Score, scores
from arks.endpoint_router.domain.shares import EndpointSpec, Share, shares

WEIGHT_TOTAL = 100_000
"""Sum of the weights of an endpoint's groups: a weight of 1,000 is one percent of the traffic."""


@dataclass(frozen=True, slots=True)
class DecisionInput:
    """Everything that a decision depends on, besides the endpoint's spec."""

    applications: Mapping[str, Application]
    """Those of the endpoint's namespace, by name."""
    signals: Mapping[ReplicaId, Signals] = field(default_factory=dict)
    before: Mapping[ReplicaId, Score] = field(default_factory=dict)
    """Scores of the last decision."""
    hold: bool = False
    """The router has just started: an application of which no load was reported keeps its last groups and shares."""
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
    groups: list[RoutedGroup] = []
    candidates: list[Candidate] = []
    weights = apportion([portion.fraction for portion in portions], WEIGHT_TOTAL)
    for portion, weight in zip(portions, weights, strict=True):
        name = portion.share.application
        ready = eligible[name]
        doubts = {replica.id: doubt(inputs.signals.get(replica.id), inputs.now, len(ready)) for replica in ready}
        compared = _compare(name, ready, doubts, inputs)
        mine = _groups(name, compared, weight)
        groups += mine
        candidates += _candidates(name, compared, mine, {**excluded, **doubts}, inputs)
    reason, message = _summary(spec, portions)
    engine_model, names_differ = _engine_model(portions, inputs.applications)
    unsupported = [inputs.applications[share.application].unsupported for share in found.shares]
    return Decision(
        endpoint=f"{spec.namespace}/{spec.name}",
        now=inputs.now,
        reason=reason,
        message=message,
        source=_source(candidates, found.differ, inputs.now),
        portions=portions,
        candidates=tuple(sorted(candidates, key=lambda candidate: candidate.replica.id)),
        groups=tuple(sorted(groups, key=lambda group: (group.application, group.name))),
        unrouted=(*found.unrouted, *names_differ),
        engine_model=engine_model,
        unsupported=tuple(sorted({what for names in unsupported for what in names})),
        joins_streams=bool(unsupported) and all(HANG_UP in names for names in unsupported),
        load_limit_percent=spec.load_limit_percent,
        limits=_limits(candidates, inputs),
        held=any(_held(eligible[portion.share.application], inputs) for portion in portions),
    )


def _engine_model(portions: Sequence[Portion], applications: Mapping[str, Application]) -> tuple[str, tuple[str, ...]]:
    """Return the name that requests carry to engines, and a message for users if not all applications serve it."""
    served = {portion.share.application: applications[portion.share.application].served_model for portion in portions}
    if not served:
        return "", ()
    first = max(portions, key=lambda portion: portion.fraction).share.application
    others = [f"{name} ({model})" for name, model in served.items() if model != served[first]]
    if not others:
        return served[first], ()
    message = f"requests name the model {served[first]}; other names are served by {', '.join(others)}"
    return served[first], (message,)


def _compare(
    application: str, eligible: Sequence[RoutedReplica], doubts: Mapping[ReplicaId, str | None], inputs: DecisionInput
) -> dict[ReplicaId, Score]:
    if _held(eligible, inputs):
        return {replica.id: inputs.before[replica.id] for replica in eligible}
    return scores(application, [_contender(replica, doubts[replica.id], inputs) for replica in eligible])


def _held(eligible: Sequence[RoutedReplica], inputs: DecisionInput) -> bool:
    """Return whether the application keeps its last groups and shares."""
    return (
        inputs.hold
        and len(eligible) > 1
        and all(replica.id in inputs.before and replica.id not in inputs.signals for replica in eligible)
        and math.isclose(math.fsum(inputs.before[replica.id].share for replica in eligible), 1.0, abs_tol=1e-3)
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


def _groups(application: str, compared: Mapping[ReplicaId, Score], weight: int) -> list[RoutedGroup]:
    """Return the groups of one application; their weights add up to `weight`."""
    shares: dict[str, list[float]] = {}
    for score in compared.values():
        shares.setdefault(score.group, []).append(score.share)
    ordered = sorted(shares.items())
    parts = apportion([math.fsum(members) for _, members in ordered], weight)
    return [
        RoutedGroup(application, name, part, len(members)) for (name, members), part in zip(ordered, parts, strict=True)
    ]


def apportion(shares: Sequence[float], total: int) -> list[int]:
    """Return integers in proportion to the shares that add up to `total`, by the largest remainders.

    A share above 0 gets at least 1, so the sum is greater if there are more shares than `total`.
    """
    whole = math.fsum(shares)
    exact = [share / whole * total if whole else 0.0 for share in shares]
    parts = [max(int(amount), 1 if amount > 0 else 0) for amount in exact]
    missing = (total if whole else 0) - sum(parts)
    order = sorted(range(len(parts)), key=lambda number: (parts[number] - exact[number], number))
    for number in order[: max(0, missing)]:
        parts[number] += 1
    if missing < 0:
        greatest = max(range(len(parts)), key=lambda number: (parts[number], -number))
        parts[greatest] = max(1, parts[greatest] + missing)
    return parts


def _candidates(
    application: str,
    compared: Mapping[ReplicaId, Score],
    groups: Iterable[RoutedGroup],
    reasons: Mapping[ReplicaId, str | None],
    inputs: DecisionInput,
) -> list[Candidate]:
    """`reasons`: why replicas without a score are excluded, and why the signals of the others cannot be used."""
    weights = {group.name: group.replica_weight for group in groups}

    def candidate(replica: RoutedReplica) -> Candidate:
        score = compared.get(replica.id)
        return Candidate(
            replica=replica,
            weight=0 if score is None else weights[score.group],
            score=score,
            signals=inputs.signals.get(replica.id),
            doubt=None if score is None else reasons[replica.id],
            peers=len(compared),
            excluded="" if score is not None else reasons[replica.id] or "",
        )

    return [candidate(replica) for replica in inputs.applications[application].replicas]


def _contender(replica: RoutedReplica, doubt_: str | None, inputs: DecisionInput) -> Contender:
    signals, before = inputs.signals.get(replica.id), inputs.before.get(replica.id)
    return Contender(
        id=replica.id,
        slots=_slots(replica, inputs),
        signals=signals if _remembered(signals, inputs.now) else None,
        doubt=doubt_,
        group=before.group if before is not None else None,
        share=before.share if before is not None else None,
    )


def _remembered(signals: Signals | None, now: float) -> bool:
    """Return whether what was measured still counts: a replica's capacity is not gone with its last report."""
    return signals is not None and signals.updated_at is not None and now - signals.updated_at <= FORGET_SECONDS


def _slots(replica: RoutedReplica, inputs: DecisionInput) -> int:
    """Return the slots in the application's fact, else those that the engine reports; 0 if both are unknown."""
    signals = inputs.signals.get(replica.id)
    return replica.slots or (signals.reading.slots if signals is not None else 0)


def _limits(candidates: Iterable[Candidate], inputs: DecisionInput) -> Limits:
    loads: list[Load] = []
    for candidate in candidates:
        if not candidate.weight:
            continue
        slots = _slots(candidate.replica, inputs)
        if candidate.signals is None or candidate.doubt is not None:
            loads.append(Load(slots))
        else:
            reading = candidate.signals.reading
            loads.append(Load(slots, reading.waiting or 0.0, reading.drain_rate))
    return limits(loads)


def _summary(spec: EndpointSpec, portions: Sequence[Portion]) -> tuple[Reason, str]:
    if not portions:
        return Reason.NO_APPLICATION, f"no application serves the model {spec.model} in namespace {spec.namespace}"
    names = ", ".join(
        f"{portion.share.application} ({portion.ready} of {portion.replicas} replicas ready, {portion.fraction:.0%})"
        for portion in portions
    )
    if any(portion.ready for portion in portions):
        return Reason.ROUTED, f"requests go to {names}"
    weightless = [portion.share.application for portion in portions if portion.share.weight == 0]
    hint = f"; weight 0: {', '.join(weightless)}" if weightless else ""
    return Reason.NO_READY_REPLICAS, f"no ready replicas: {names}{hint}"


def _source(candidates: Sequence[Candidate], shares_differ: bool, now: float) -> Source:
    compared = [candidate for candidate in candidates if candidate.score is not None]
    if any(candidate.doubt is None or _remembered(candidate.signals, now) for candidate in compared):
        return Source.ENGINE
    slots = {candidate.replica.slots for candidate in compared}
    by_slots = len(slots) > 1 and 0 not in slots
    return Source.STATIC if shares_differ or by_slots else Source.EQUAL
