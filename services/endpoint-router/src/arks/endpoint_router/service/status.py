"""What an endpoint's status, fact and explanation say of a decision. Pure; times are arguments."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from arks.contracts.conditions import set_condition
from arks.contracts.resources.endpoint import (
    MAX_ROUTES,
    ArksEndpoint,
    ArksEndpointStatus,
    BackendRef,
    ReplicaWeight,
)
from arks.contracts.resources.meta import Condition
from arks.endpoint_router.domain import SERVICE_PREFIX, Candidate, Decision, Unit
from arks.endpoint_router.domain.http_route import CONDITION, Attachment
from arks.endpoint_router.service.events import REJECTED
from arks.events.v1.facts_pb2 import EndpointFact, RoutedReplica

SERVICE_PORT = 8080
"""Port of an application's Service."""
WEIGHTS_LIMIT = 64
"""Replicas that are listed in the status; the explanation lists all."""


def status(
    endpoint: ArksEndpoint,
    decision: Decision,
    *,
    notes: Sequence[str],
    attachment: Attachment | None = None,
    refusal: str | None,
    served: bool,
    now: datetime,
) -> ArksEndpointStatus:
    """`refusal`: what Envoy said against the newest configuration; `served`: it still runs an earlier one."""
    before = endpoint.status or ArksEndpointStatus()
    generation = endpoint.metadata.generation
    ready, reason, message = decision.ready, str(decision.reason), decision.message
    if refusal is not None and not served:
        ready, reason, message = False, REJECTED, refusal
    conditions = _accepted(before.conditions, (*decision.unrouted, *notes), refusal, now, generation)
    conditions = set_condition(
        conditions, "Ready", ready, reason, message[:32768], now=now, observed_generation=generation
    )
    if attachment is None:
        conditions = [condition for condition in conditions if condition.type != CONDITION]
    else:
        said = (attachment.attached, attachment.reason, attachment.message[:32768])
        conditions = set_condition(conditions, CONDITION, *said, now=now, observed_generation=generation)
    return ArksEndpointStatus(
        routes=_routes(decision),
        observed_generation=generation,
        conditions=conditions,
        ready_replicas=len(decision.routed),
        weights=[_weight(one) for one in decision.candidates[:WEIGHTS_LIMIT]],
        signal_source=str(decision.source) if decision.routed else None,
    )


def fact(endpoint: ArksEndpoint, decision: Decision, before: EndpointFact | None, now: datetime) -> EndpointFact:
    """`before` itself when it says the same already."""
    wanted = EndpointFact(
        namespace=endpoint.namespace,
        name=endpoint.name,
        generation=endpoint.metadata.generation or 0,
        ready=decision.ready,
        reason=str(decision.reason),
        message=decision.message,
        replicas=[
            RoutedReplica(
                application=one.replica.id.application,
                name=one.replica.id.name,
                host=one.replica.host,
                port=one.replica.port,
                weight=one.weight,
            )
            for one in decision.candidates
            if one.weight
        ],
    )
    if before is not None:
        wanted.updated_at.CopyFrom(before.updated_at)
        if wanted == before:
            return before
    stamp = Timestamp()
    stamp.FromDatetime(now)
    wanted.updated_at.CopyFrom(stamp)
    return wanted


def explanation(decision: Decision, now: float) -> dict[str, Any]:
    """A decision as JSON: candidates, signals with ages, weights, why."""
    return {
        "endpoint": decision.endpoint,
        "decidedAt": datetime.fromtimestamp(decision.now, UTC).isoformat(timespec="milliseconds"),
        "ageSeconds": round(now - decision.now, 3),
        "ready": decision.ready,
        "reason": decision.reason,
        "message": decision.message,
        "signalSource": decision.source,
        "unrouted": list(decision.unrouted),
        "applications": [
            {
                "application": one.share.application,
                "configuredWeight": one.share.weight,
                "configuredBy": "routeConfigs" if one.share.static else "defaultWeight",
                "part": round(one.part, 4),
                "readyReplicas": one.ready,
                "replicas": one.replicas,
            }
            for one in decision.portions
        ],
        "candidates": [_candidate(one, decision.now) for one in decision.candidates],
    }


def _accepted(
    conditions: Sequence[Condition], notes: Sequence[str], refusal: str | None, now: datetime, generation: int | None
) -> list[Condition]:
    if refusal is not None:
        accepted, reason, message = False, REJECTED, f"Envoy refused it: {refusal}"
    else:
        accepted, reason, message = True, "PartlyAccepted" if notes else "Accepted", "; ".join(notes)
    return set_condition(
        conditions, "Accepted", accepted, reason, message[:32768], now=now, observed_generation=generation
    )


def _routes(decision: Decision) -> list[BackendRef]:
    """One backend an application, as a route to their Services would have them; at most as many as a route may have."""
    return [
        BackendRef(
            name=f"{SERVICE_PREFIX}{one.share.application}",
            port=one.share.port or SERVICE_PORT,
            weight=min(one.share.weight, 1_000_000),
        )
        for one in decision.portions[:MAX_ROUTES]
        if one.ready
    ]


def _weight(one: Candidate) -> ReplicaWeight:
    return ReplicaWeight(
        application=one.replica.id.application,
        replica=one.replica.id.name,
        address=one.replica.address,
        weight=one.weight,
        reason=one.words()[:1024],
    )


def _candidate(one: Candidate, now: float) -> dict[str, Any]:
    reading = one.signals.reading if one.signals is not None else None
    return {
        "application": one.replica.id.application,
        "replica": one.replica.id.name,
        "address": one.replica.address,
        "state": one.replica.state,
        "weight": one.weight,
        "score": one.score.value if one.score is not None else None,
        "scoreTarget": one.score.target if one.score is not None else None,
        "reason": one.words(now),
        "signals": None
        if reading is None or one.signals is None
        else {
            "ageSeconds": round(now - reading.measured_at, 3),
            "running": reading.running,
            "waiting": reading.waiting,
            "kvCacheUsage": reading.kv_usage,
            "drainRatePerSecond": reading.drain_rate,
            "tokensPerSecond": reading.token_rate,
            "meanWaiting": round(one.signals.mean_waiting, 3),
            "tokensPerSecondAndPlace": one.signals.speed(Unit.TOKENS),
            "requestsPerSecondAndPlace": one.signals.speed(Unit.REQUESTS),
            "problem": reading.problem,
        },
    }
