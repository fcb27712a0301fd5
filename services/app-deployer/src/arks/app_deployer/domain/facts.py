"""The fact of an application, and the event between two statuses. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from arks.app_deployer.domain.status import trouble_of
from arks.app_deployer.domain.workload import ObservedReplica, ObservedWorkload
from arks.contracts.facts import ReplicaFact, ReplicaState, replicas_fact
from arks.contracts.resources import (
    ApplicationPhase,
    ArksApplication,
    ArksApplicationStatus,
    ArksDisaggregatedApplicationStatus,
    Condition,
    ConditionStatus,
    InstanceState,
)
from arks.events.v1.facts_pb2 import ReplicasFact

_MOST_MESSAGE = 500


def fact_of(
    application: ArksApplication, observed: ObservedWorkload, dialect: str = "", unsupported: Sequence[str] = ()
) -> ReplicasFact:
    """The fact without `updated_at`, which the writer sets when anything else has changed.

    `dialect`: the runtime whose names the metrics have; empty: the application's. `unsupported`: what the engines take
    in a request and do not keep.
    """
    fact = replicas_fact(application, [replica_fact(replica) for replica in observed.replicas], unsupported)
    if dialect:
        fact.runtime = dialect
    if len(observed.of(InstanceState.READY)) < fact.desired:
        fact.missing_reason, fact.missing_message = missing(observed)
    return fact


def missing(observed: ObservedWorkload) -> tuple[str, str]:
    """Reason and message of why desired replicas do not run; empty while nothing is known to keep them."""
    trouble = trouble_of(None, observed)
    return ("", "") if trouble is None else (trouble.reason, trouble.message[:_MOST_MESSAGE])


def replica_fact(replica: ObservedReplica) -> ReplicaFact:
    return ReplicaFact(
        name=replica.name,
        host=replica.host,
        port=replica.port,
        state=ReplicaState.of_instance(replica.state),
        slots=replica.slots,
        restarts=replica.restarts,
    )


Status = ArksApplicationStatus | ArksDisaggregatedApplicationStatus


@dataclass(frozen=True, slots=True)
class ApplicationEvent:
    """An event `application.<verb>` before it is published."""

    verb: str
    reason: str
    message: str


def event_of(before: Status | None, after: Status) -> ApplicationEvent | None:
    """The event for a change of phase or of a failure's reason; None without one."""
    same = before is not None and before.phase is after.phase
    if after.phase is ApplicationPhase.RUNNING and not same:
        ready = next(condition for condition in after.conditions if condition.type == "Ready")
        return ApplicationEvent("running", ready.reason, ready.message)
    if after.phase is ApplicationPhase.FAILED:
        bad = _worst(after)
        if before is None or not same or _worst(before).reason != bad.reason:
            return ApplicationEvent("failed", bad.reason, bad.message)
    return None


def _worst(status: Status) -> Condition:
    """The first false condition; later ones follow from it."""
    bad = (condition for condition in status.conditions if condition.status is ConditionStatus.FALSE)
    return next(bad, status.conditions[-1])
