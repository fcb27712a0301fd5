"""Build an endpoint's status, fact and explanation from a decision. Pure; times are arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from arks.contracts.conditions import set_condition
from arks.contracts.facts import endpoint_fact
from arks.contracts.names import SERVICE_PORT, service_name
from arks.contracts.resources import (
    MAX_ROUTES,
    ArksEndpoint,
    ArksEndpointStatus,
    BackendRef,
    Condition,
    EndpointRolloutStatus,
    EngineSignals,
    ReplicaWeight,
    RolloutPhase,
)
from arks.endpoint_router.domain import Candidate, Decision, Pages, RoutedReplica, Unit
from arks.endpoint_router.domain.http_route import CONDITION, Attachment
from arks.endpoint_router.domain.native import Evidence
from arks.endpoint_router.domain.rollout import Phase, Rollout
from arks.endpoint_router.service.events import REJECTED
from arks.events.v1.facts_pb2 import EndpointFact
from arks.events.v1.facts_pb2 import RoutedReplica as RoutedReplicaMessage

WEIGHTS_LIMIT = 64
"""Replicas that the status lists; the explanation lists all."""
WAIT = "RequestsWait"
"""Type of the condition that exists while requests are held."""
_MOST_NAMES = 4
MESSAGE_LIMIT = 32_768
"""Characters of a condition's message that Kubernetes accepts."""


@dataclass(frozen=True, slots=True)
class Held:
    """Requests that wait at the gateway for a replica."""

    requests: int
    since: datetime


def status(
    endpoint: ArksEndpoint,
    decision: Decision,
    *,
    notes: Sequence[str],
    attachment: Attachment | None = None,
    rollout: Rollout | None = None,
    held: Held | None = None,
    pages: Sequence[Pages] = (),
    rejection: str | None,
    served: bool,
    now: datetime,
) -> ArksEndpointStatus:
    """Return the status. `notes`: messages about settings without effect.

    `rejection`: Envoy's message about the newest configuration; `served`: Envoy runs an earlier one.
    """
    before = endpoint.status or ArksEndpointStatus()
    generation = endpoint.metadata.generation
    ready, reason, message = decision.ready, str(decision.reason), decision.message
    if rejection is not None and not served:
        ready, reason, message = False, REJECTED, rejection
    conditions = _accepted(before.conditions, (*decision.roster.unrouted, *notes), rejection, now, generation)
    conditions = set_condition(
        conditions, "Ready", ready, reason, message[:MESSAGE_LIMIT], now=now, observed_generation=generation
    )
    conditions = _requests_wait(conditions, held, decision, now, generation)
    return ArksEndpointStatus(
        routes=_routes(decision),
        observed_generation=generation,
        conditions=_progressing(_attached(conditions, attachment, now, generation), rollout, now, generation),
        ready_replicas=len(decision.roster.routed),
        weights=[_weight(candidate) for candidate in decision.candidates[:WEIGHTS_LIMIT]],
        signal_source=str(decision.source) if decision.roster.routed else None,
        rollout=_rollout(rollout),
        engines=_engines(decision, pages, before.engines),
    )


def _engines(decision: Decision, pages: Sequence[Pages], before: Sequence[EngineSignals]) -> list[EngineSignals]:
    """Return what the pages of each application are; what was written before, until its first load report."""
    found = {each.application: each for each in before}
    found |= {
        each.application: EngineSignals(
            application=each.application, looks_like=list(each.versions), lacks=list(each.missing)
        )
        for each in pages
    }
    routed = sorted({portion.share.application for portion in decision.portions})
    return [found[name] for name in routed if name in found and (found[name].looks_like or found[name].lacks)]


def _rollout(rollout: Rollout | None) -> EndpointRolloutStatus | None:
    if rollout is None:
        return None
    return EndpointRolloutStatus(
        canary=rollout.canary,
        phase=RolloutPhase(rollout.phase),
        step=rollout.step,
        percent=rollout.percent,
        since=datetime.fromtimestamp(rollout.since, UTC),
        message=rollout.message[:1024],
    )


def _progressing(
    conditions: list[Condition], rollout: Rollout | None, now: datetime, generation: int | None
) -> list[Condition]:
    if rollout is None:
        return [condition for condition in conditions if condition.type != "Progressing"]
    message = f"{rollout.canary} gets {rollout.percent} % of the requests: {rollout.message}"
    progressing = rollout.phase is Phase.PROGRESSING
    reason = "Step" if progressing else str(rollout.phase)
    return set_condition(
        conditions, "Progressing", progressing, reason, message, now=now, observed_generation=generation
    )


def _requests_wait(
    conditions: list[Condition], held: Held | None, decision: Decision, now: datetime, generation: int | None
) -> list[Condition]:
    if held is None:
        return [condition for condition in conditions if condition.type != WAIT]
    requests = "1 request waits" if held.requests == 1 else f"{held.requests} requests wait"
    since = f"since {held.since:%Y-%m-%dT%H:%M:%SZ}"
    if decision.roster.routed:
        reason, message = "Released", f"{requests}, some {since}; the replicas take them as slots become free"
    else:
        names = [portion.share.application for portion in decision.portions][:_MOST_NAMES]
        where = f" of {' or '.join(names)}" if names else ""
        reason, message = "FirstReplicaStarts", f"{requests} for the first replica{where} {since}"
    return set_condition(conditions, WAIT, True, reason, message, now=now, observed_generation=generation)


def differs_in_weights_only(status: ArksEndpointStatus, other: ArksEndpointStatus | None) -> bool:
    """Return whether two statuses differ at most in weights, their reasons, and figures of a rollout or of a queue."""
    if other is None:
        return False
    same_members = [(weight.application, weight.replica) for weight in status.weights] == [
        (weight.application, weight.replica) for weight in other.weights
    ]
    return same_members and _without_figures(status) == _without_figures(other)


def _without_figures(status: ArksEndpointStatus) -> ArksEndpointStatus:
    rollout = status.rollout.model_copy(update={"message": ""}) if status.rollout is not None else None
    conditions = [
        condition.model_copy(update={"message": ""}) if condition.type in {"Progressing", WAIT} else condition
        for condition in status.conditions
    ]
    figures = {"weights": [], "signal_source": None, "rollout": rollout, "conditions": conditions}
    return status.model_copy(update=figures)


def fact(endpoint: ArksEndpoint, decision: Decision) -> EndpointFact:
    replicas = [
        RoutedReplicaMessage(
            application=candidate.replica.id.application,
            name=candidate.replica.id.name,
            host=candidate.replica.host,
            port=candidate.replica.port,
            weight=candidate.weight,
        )
        for candidate in decision.candidates
        if candidate.weight
    ]
    return endpoint_fact(
        endpoint,
        replicas,
        ready=decision.ready,
        reason=str(decision.reason),
        message=decision.message,
        engine_model=decision.roster.engine_model,
        unsupported=decision.roster.unsupported,
    )


def explanation(decision: Decision, now: float) -> dict[str, Any]:
    """Return a decision as JSON: candidates, signals with ages, weights and reasons."""
    total = sum(group.weight for group in decision.groups) or 1
    return {
        "endpoint": decision.endpoint,
        "decidedAt": datetime.fromtimestamp(decision.now, UTC).isoformat(timespec="milliseconds"),
        "ageSeconds": round(now - decision.now, 3),
        "ready": decision.ready,
        "reason": decision.reason,
        "message": decision.message,
        "signalSource": decision.source,
        "unrouted": list(decision.roster.unrouted),
        "limits": {
            "requestsInFlight": decision.limits.requests,
            "retryPercent": decision.limits.retry_percent,
            "retryAfterSeconds": decision.limits.retry_after_seconds,
        },
        "applications": [
            {
                "application": portion.share.application,
                "configuredWeight": portion.share.weight,
                "configuredBy": "routeConfigs" if portion.share.static else "defaultWeight",
                "fraction": round(portion.fraction, 4),
                "readyReplicas": portion.ready,
                "replicas": portion.replicas,
            }
            for portion in decision.portions
        ],
        "groups": [
            {
                "group": group.name,
                "application": group.application,
                "weight": group.weight,
                "share": round(group.weight / total, 5),
                "replicas": group.replicas,
            }
            for group in decision.groups
        ],
        "candidates": [_candidate(candidate, decision.now) for candidate in decision.candidates],
    }


def _accepted(
    conditions: Sequence[Condition], notes: Sequence[str], rejection: str | None, now: datetime, generation: int | None
) -> list[Condition]:
    if rejection is not None:
        accepted, reason, message = False, REJECTED, f"Envoy rejected it: {rejection}"
    else:
        accepted, reason, message = True, "PartlyAccepted" if notes else "Accepted", "; ".join(notes)
    return set_condition(
        conditions, "Accepted", accepted, reason, message[:MESSAGE_LIMIT], now=now, observed_generation=generation
    )


def _attached(
    conditions: list[Condition], attachment: Attachment | None, now: datetime, generation: int | None
) -> list[Condition]:
    if attachment is None:
        return [condition for condition in conditions if condition.type != CONDITION]
    return set_condition(
        conditions,
        CONDITION,
        attachment.attached,
        attachment.reason,
        attachment.message[:MESSAGE_LIMIT],
        now=now,
        observed_generation=generation,
    )


def _routes(decision: Decision) -> list[BackendRef]:
    """Return one backend for each routed application, up to the largest number that an HTTPRoute may have."""
    return [
        BackendRef(
            name=service_name(portion.share.application),
            port=portion.share.port or SERVICE_PORT,
            weight=min(portion.share.weight, 1_000_000),
        )
        for portion in decision.portions[:MAX_ROUTES]
        if portion.ready
    ]


def _weight(candidate: Candidate) -> ReplicaWeight:
    return ReplicaWeight(
        application=candidate.replica.id.application,
        replica=candidate.replica.id.name,
        address=candidate.replica.address,
        weight=candidate.weight,
        group=candidate.group,
        reason=candidate.explanation()[:1024],
    )


def _candidate(candidate: Candidate, now: float) -> dict[str, Any]:
    return {
        "application": candidate.replica.id.application,
        "replica": candidate.replica.id.name,
        "address": candidate.replica.address,
        "state": candidate.replica.state,
        "weight": candidate.weight,
        "group": candidate.group,
        "score": candidate.score.value if candidate.score is not None else None,
        "scoreTarget": candidate.score.target if candidate.score is not None else None,
        "reason": candidate.explanation(now),
        "signals": _signals(candidate.replica, candidate.evidence, now),
    }


def _signals(replica: RoutedReplica, evidence: Evidence | None, now: float) -> dict[str, Any] | None:
    if evidence is None:
        return None
    reading = evidence.reading
    return {
        "ageSeconds": round(now - reading.measured_at, 3),
        "running": reading.running,
        "waiting": reading.waiting,
        "kvCacheUsage": reading.kv_usage,
        "drainRatePerSecond": reading.drain_rate,
        "tokensPerSecond": reading.token_rate,
        "slots": reading.slots or replica.slots or None,
        "observedSlots": evidence.full_at,
        "meanInFlight": round(evidence.mean_in_flight, 3),
        "meanWaiting": round(evidence.mean_waiting, 3),
        "tokensPerSecondAndSlot": evidence.speed(Unit.TOKENS),
        "requestsPerSecondAndSlot": evidence.speed(Unit.REQUESTS),
        "problem": reading.problem,
    }
