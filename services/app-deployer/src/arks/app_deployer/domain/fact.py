"""What neighbours are told of an application, and what changed from one status to the next. Pure."""

from dataclasses import dataclass

from arks.app_deployer.domain.workload import Observed, Replica, ReplicaState
from arks.contracts.resources import (
    ApplicationPhase,
    ArksApplication,
    ArksApplicationStatus,
    ArksDisaggregatedApplicationStatus,
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
    """What a change of phase means to people; events of replicas come from the workload."""
    if before is not None and before.phase is after.phase:
        return None
    ready = next(condition for condition in after.conditions if condition.type == "Ready")
    if after.phase is ApplicationPhase.RUNNING:
        return Happened("running", ready.reason, ready.message)
    if after.phase is ApplicationPhase.FAILED:
        bad = next((one for one in after.conditions if one.status is ConditionStatus.FALSE), ready)
        return Happened("failed", bad.reason, bad.message)
    return None
