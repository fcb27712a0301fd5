"""What neighbours are told of an application, and what changed from one status to the next. Pure."""

from dataclasses import dataclass

from arks.app_deployer.domain.workload import Observed, Replica, ReplicaState
from arks.contracts.resources import (
    ApplicationPhase,
    ArksApplication,
    ArksApplicationStatus,
    ArksDisaggregatedApplicationStatus,
    Condition,
    ConditionStatus,
)
from arks.events.v1 import facts_pb2
from arks.events.v1.facts_pb2 import ReplicasFact

_STATES = {
    ReplicaState.STARTING: facts_pb2.REPLICA_STATE_STARTING,
    ReplicaState.LOADING: facts_pb2.REPLICA_STATE_STARTING,
    ReplicaState.READY: facts_pb2.REPLICA_STATE_READY,
    ReplicaState.DRAINING: facts_pb2.REPLICA_STATE_DRAINING,
    ReplicaState.BACK_OFF: facts_pb2.REPLICA_STATE_FAILED,
    ReplicaState.FAILED: facts_pb2.REPLICA_STATE_FAILED,
}


def fact_of(application: ArksApplication, observed: Observed) -> ReplicasFact:
    """Everything but the time, which the writer adds when something has changed."""
    deleted = application.metadata.deletion_timestamp is not None
    return ReplicasFact(
        namespace=application.namespace,
        application=application.name,
        generation=application.metadata.generation or 0,
        served_model=application.spec.served_name,
        runtime=application.spec.effective_runtime.value,
        desired=0 if deleted else application.spec.replicas,
        replicas=[replica_fact(replica) for replica in observed.replicas],
    )


def replica_fact(replica: Replica) -> facts_pb2.Replica:
    return facts_pb2.Replica(
        name=replica.name,
        host=replica.host,
        port=replica.port,
        state=_STATES[replica.state],
        slots=replica.slots,
        restarts=replica.restarts,
    )


Status = ArksApplicationStatus | ArksDisaggregatedApplicationStatus


@dataclass(frozen=True, slots=True)
class Happened:
    """Something to tell people; becomes an event `application.<verb>`."""

    verb: str
    reason: str
    message: str


def happened(before: Status | None, after: Status) -> Happened | None:
    """What a change of phase, or of the reason for a failure, means to people; replicas' events are the workload's."""
    same = before is not None and before.phase is after.phase
    if after.phase is ApplicationPhase.RUNNING and not same:
        ready = next(condition for condition in after.conditions if condition.type == "Ready")
        return Happened("running", ready.reason, ready.message)
    if after.phase is ApplicationPhase.FAILED:
        bad = _worst(after)
        if before is None or not same or _worst(before).reason != bad.reason:
            return Happened("failed", bad.reason, bad.message)
    return None


def _worst(status: Status) -> Condition:
    """The first condition that does not hold; later ones follow from it."""
    bad = (one for one in status.conditions if one.status is ConditionStatus.FALSE)
    return next(bad, status.conditions[-1])
