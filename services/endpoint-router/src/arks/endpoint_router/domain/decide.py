"""Take a decision: first who can get traffic at all (`roster`), then load."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from arks.endpoint_router.domain.decision import Candidate, Decision, RoutedGroup, Source
from arks.endpoint_router.domain.groups import Contender
from arks.endpoint_router.domain.limits import Limits, Load, limits
from arks.endpoint_router.domain.load import FORGET_SECONDS, Signals, doubt
from arks.endpoint_router.domain.replicas import Application, ReplicaId, RoutedReplica
from arks.endpoint_router.domain.roster import Pool, Roster, apportion, roster
from arks.endpoint_router.domain.scores import Score, scores
from arks.endpoint_router.domain.shares import EndpointSpec


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
    return weigh(roster(spec, inputs.applications), inputs)


def weigh(known: Roster, inputs: DecisionInput) -> Decision:
    """Return the decision that `decide` returns. `known`: the roster of the spec and of `inputs.applications`."""
    groups: list[RoutedGroup] = []
    candidates: list[Candidate] = []
    held = False
    for pool in known.pools:
        contenders = [_contender(replica, len(pool.ready), inputs) for replica in pool.ready]
        if _held(pool.ready, inputs):
            held, compared = True, {replica.id: inputs.before[replica.id] for replica in pool.ready}
        else:
            compared = scores(pool.application, contenders)
        mine = _groups(pool.application, compared, pool.weight)
        groups += mine
        candidates += _candidates(pool, contenders, compared, mine, inputs.signals)
    if len(known.pools) > 1:
        candidates.sort(key=lambda candidate: candidate.replica.id)
        groups.sort(key=lambda group: (group.application, group.name))
    return Decision(
        endpoint=known.endpoint,
        now=inputs.now,
        reason=known.reason,
        message=known.message,
        source=_source(candidates, known.shares_differ, inputs.now),
        portions=known.portions,
        candidates=tuple(candidates),
        groups=tuple(groups),
        unrouted=known.unrouted,
        engine_model=known.engine_model,
        unsupported=known.unsupported,
        joins_streams=known.joins_streams,
        load_limit_percent=known.spec.load_limit_percent,
        limits=_limits(candidates),
        held=held,
    )


def _held(eligible: Sequence[RoutedReplica], inputs: DecisionInput) -> bool:
    """Return whether the application keeps its last groups and shares."""
    return (
        inputs.hold
        and len(eligible) > 1
        and all(replica.id in inputs.before and replica.id not in inputs.signals for replica in eligible)
        and math.isclose(math.fsum(inputs.before[replica.id].share for replica in eligible), 1.0, abs_tol=1e-3)
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


def _candidates(
    pool: Pool,
    contenders: Iterable[Contender],
    compared: Mapping[ReplicaId, Score],
    groups: Iterable[RoutedGroup],
    signals: Mapping[ReplicaId, Signals],
) -> list[Candidate]:
    """Return the replicas of one application, sorted by name."""
    weights = {group.name: group.replica_weight for group in groups}
    doubts = {contender.id: contender.doubt for contender in contenders}
    peers, found = len(compared), []
    for replica in pool.replicas:
        id_ = replica.id
        if (score := compared.get(id_)) is None:
            found.append(Candidate(replica, 0, None, signals.get(id_), None, peers, pool.excluded[id_]))
        else:
            weight = weights[score.group]
            found.append(Candidate(replica, weight, score, signals.get(id_), doubts[id_], peers))
    return found


def _contender(replica: RoutedReplica, ready: int, inputs: DecisionInput) -> Contender:
    signals, before = inputs.signals.get(replica.id), inputs.before.get(replica.id)
    return Contender(
        id=replica.id,
        slots=_slots(replica, signals),
        signals=signals if _remembered(signals, inputs.now) else None,
        doubt=doubt(signals, inputs.now, ready),
        group=before.group if before is not None else None,
        share=before.share if before is not None else None,
    )


def _remembered(signals: Signals | None, now: float) -> bool:
    """Return whether what was measured still counts: a replica's capacity is not gone with its last report."""
    return signals is not None and signals.updated_at is not None and now - signals.updated_at <= FORGET_SECONDS


def _slots(replica: RoutedReplica, signals: Signals | None) -> int:
    """Return the slots in the application's fact, else those that the engine reports; 0 if both are unknown."""
    return replica.slots or (signals.reading.slots if signals is not None else 0)


def _limits(candidates: Iterable[Candidate]) -> Limits:
    loads: list[Load] = []
    for candidate in candidates:
        if not candidate.weight:
            continue
        signals = candidate.signals
        slots = _slots(candidate.replica, signals)
        if signals is None or candidate.doubt is not None:
            loads.append(Load(slots))
        else:
            loads.append(Load(slots, signals.reading.waiting or 0.0, signals.reading.drain_rate))
    return limits(loads)


def _source(candidates: Sequence[Candidate], shares_differ: bool, now: float) -> Source:
    compared = [candidate for candidate in candidates if candidate.score is not None]
    if any(candidate.doubt is None or _remembered(candidate.signals, now) for candidate in compared):
        return Source.ENGINE
    slots = {candidate.replica.slots for candidate in compared}
    by_slots = len(slots) > 1 and 0 not in slots
    return Source.STATIC if shares_differ or by_slots else Source.EQUAL
