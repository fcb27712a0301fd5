"""Facts as Python values: the states of replicas, and messages built from resources or read into plain data.

Messages are built without `updated_at`: the writer sets it when anything else has changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from arks.contracts.conditions import find_condition
from arks.contracts.resources import (
    ArksApplication,
    ArksDisaggregatedApplication,
    ArksEndpoint,
    ArksModel,
    ArksModelStatus,
    InstanceState,
    ModelPhase,
)
from arks.events.v1 import facts_pb2
from arks.events.v1.facts_pb2 import EndpointFact, ModelFact, ReplicasFact, RoutedReplica

ROUTER_RUNTIME = "sglang-router"
"""`runtime` of a disaggregated application's fact: its replicas are routers, whose metrics differ from an engine's."""


class ReplicaState(StrEnum):
    """What other services need to know of a replica. `InstanceState` has the details that people see."""

    STARTING = "starting"
    """Its model has not answered yet. States that this version does not know are read as this one: no traffic."""
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"

    @classmethod
    def of_instance(cls, state: InstanceState) -> "ReplicaState":
        """The state to publish for an engine in `state`."""
        match state:
            case InstanceState.STARTING | InstanceState.LOADING:
                return cls.STARTING
            case InstanceState.READY:
                return cls.READY
            case InstanceState.DRAINING:
                return cls.DRAINING
            case InstanceState.BACK_OFF | InstanceState.FAILED:
                return cls.FAILED
            case _:
                assert_never(state)


_MESSAGE_STATES = {
    ReplicaState.STARTING: facts_pb2.REPLICA_STATE_STARTING,
    ReplicaState.READY: facts_pb2.REPLICA_STATE_READY,
    ReplicaState.DRAINING: facts_pb2.REPLICA_STATE_DRAINING,
    ReplicaState.FAILED: facts_pb2.REPLICA_STATE_FAILED,
}
_STATES = {message_state: state for state, message_state in _MESSAGE_STATES.items()}


@dataclass(frozen=True, slots=True)
class ReplicaFact:
    """One replica of a ReplicasFact."""

    name: str
    """Stable within its application, as app-qwen-0."""
    host: str = ""
    """Empty until the replica has an address."""
    port: int = 0
    """0 until the replica has an address."""
    state: ReplicaState = ReplicaState.STARTING
    slots: int = 0
    """Requests that it works on at the same time at most, as configured; 0 when unknown."""
    restarts: int = 0
    """Rises when an engine of this name starts again: measurements of the previous one no longer hold."""

    def to_message(self) -> facts_pb2.Replica:
        return facts_pb2.Replica(
            name=self.name,
            host=self.host,
            port=self.port,
            state=_MESSAGE_STATES[self.state],
            slots=self.slots,
            restarts=self.restarts,
        )

    @classmethod
    def from_message(cls, message: facts_pb2.Replica) -> "ReplicaFact":
        return cls(
            name=message.name,
            host=message.host,
            port=message.port,
            state=_STATES.get(message.state, ReplicaState.STARTING),
            slots=message.slots,
            restarts=message.restarts,
        )


def replica_facts(fact: ReplicasFact) -> tuple[ReplicaFact, ...]:
    """The replicas of a ReplicasFact, in its order."""
    return tuple(ReplicaFact.from_message(replica) for replica in fact.replicas)


def replicas_fact(
    application: ArksApplication | ArksDisaggregatedApplication,
    replicas: Iterable[ReplicaFact],
    unsupported: Iterable[str] = (),
) -> ReplicasFact:
    """The fact of an application, which lists what answers its requests: engines, or routers in front of them.

    `unsupported`: what its engines take in a request and do not keep.
    """
    if isinstance(application, ArksApplication):
        runtime, desired = application.spec.effective_runtime.value, application.spec.replicas
    else:
        runtime, desired = ROUTER_RUNTIME, application.spec.router.replicas
    return ReplicasFact(
        namespace=application.namespace,
        application=application.name,
        generation=application.metadata.generation or 0,
        served_model=application.spec.served_name,
        runtime=runtime,
        desired=desired if application.metadata.deletion_timestamp is None else 0,
        replicas=[replica.to_message() for replica in replicas],
        unsupported=sorted(unsupported),
    )


def model_fact(model: ArksModel, status: ArksModelStatus, *, pvc_name: str = "", cache_pvc_name: str = "") -> ModelFact:
    """The fact of a model in `status`. `pvc_name`: the PVC that holds its files; empty on one machine.

    `cache_pvc_name`: the PVC of copies on nodes; empty for a model without.
    """
    ready = find_condition(status.conditions, "Ready")
    memory = status.memory
    return ModelFact(
        namespace=model.namespace,
        name=model.name,
        generation=status.observed_generation or 0,
        ready=status.phase is ModelPhase.READY,
        path=status.path or "",
        model=model.spec.model,
        size_bytes=status.size_bytes or 0,
        reason=ready.reason if ready is not None else "",
        message=ready.message if ready is not None else "",
        claim_name=pvc_name,
        weights_bytes=memory.weights_bytes if memory else 0,
        kv_bytes_per_token=(memory and memory.kv_cache_bytes_per_token) or 0,
        context_tokens=(memory and memory.context_tokens) or 0,
        cache_claim_name=cache_pvc_name,
    )


def endpoint_fact(
    endpoint: ArksEndpoint,
    replicas: Iterable[RoutedReplica],
    *,
    ready: bool,
    reason: str,
    message: str,
    engine_model: str = "",
    unsupported: Iterable[str] = (),
) -> EndpointFact:
    """The fact of an endpoint. `replicas`: those with a weight above 0."""
    return EndpointFact(
        namespace=endpoint.namespace,
        name=endpoint.name,
        generation=endpoint.metadata.generation or 0,
        ready=ready,
        reason=reason,
        message=message,
        replicas=replicas,
        model=endpoint.spec.served_model_name or "",
        engine_model=engine_model,
        unsupported=unsupported,
        affinity=_affinity(endpoint),
        created_at=endpoint.metadata.creation_timestamp,
    )


def _affinity(endpoint: ArksEndpoint) -> facts_pb2.EndpointAffinity | None:
    given = endpoint.spec.affinity
    if given is None:
        return None
    return facts_pb2.EndpointAffinity(header=(given.header or "").lower(), prompt_bytes=given.prompt_bytes)


def weights_by_replica(facts: Iterable[EndpointFact]) -> dict[tuple[str, str, str], int]:
    """Weight of each routed replica by (namespace, application, replica)."""
    return {
        (fact.namespace, replica.application, replica.name): replica.weight
        for fact in facts
        for replica in fact.replicas
    }
