"""Facts: what their builders write, their readers read back."""

from datetime import UTC, datetime
from typing import Any

import pytest

from arks.contracts.facts import (
    ReplicaFact,
    ReplicaState,
    endpoint_fact,
    model_fact,
    replica_facts,
    replicas_fact,
    weights_by_replica,
)
from arks.contracts.resources import (
    ArksApplication,
    ArksDisaggregatedApplication,
    ArksEndpoint,
    ArksModel,
    ArksModelStatus,
    Condition,
    ConditionStatus,
    InstanceState,
    ModelPhase,
)
from arks.events.v1.facts_pb2 import EndpointAffinity, EndpointFact, ModelFact, Replica, ReplicasFact, RoutedReplica
from arks.events.v1.facts_pb2 import ReplicaState as MessageState

REPLICA = ReplicaFact("app-qwen-0", "10.0.0.7", 8000, ReplicaState.READY, slots=4, restarts=2)


def metadata(**more: Any) -> dict[str, Any]:
    return {"name": "qwen", "namespace": "team", "generation": 3, **more}


def application(**more: Any) -> ArksApplication:
    return ArksApplication.from_dict(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksApplication",
            "metadata": metadata(**more),
            "spec": {"replicas": 2, "runtime": "llamacpp", "model": {"name": "qwen2.5"}, "instanceSpec": {}},
        }
    )


@pytest.mark.parametrize("state", ReplicaState)
def test_a_replica_survives_its_message(state: ReplicaState) -> None:
    replica = ReplicaFact("app-qwen-0", "10.0.0.7", 8000, state, slots=4, restarts=2)
    assert replica == ReplicaFact.from_message(replica.to_message())


@pytest.mark.parametrize("number", [MessageState.REPLICA_STATE_UNSPECIFIED, 99])
def test_a_state_of_a_newer_version_is_read_as_starting(number: Any) -> None:
    assert ReplicaState.STARTING is ReplicaFact.from_message(Replica(name="a", state=number)).state


@pytest.mark.parametrize(
    ("instance", "published"),
    [
        (InstanceState.STARTING, ReplicaState.STARTING),
        (InstanceState.LOADING, ReplicaState.STARTING),
        (InstanceState.READY, ReplicaState.READY),
        (InstanceState.DRAINING, ReplicaState.DRAINING),
        (InstanceState.BACK_OFF, ReplicaState.FAILED),
        (InstanceState.FAILED, ReplicaState.FAILED),
    ],
)
def test_an_engine_in_this_state_is_published_as(instance: InstanceState, published: ReplicaState) -> None:
    assert published is ReplicaState.of_instance(instance)


def test_the_fact_of_an_application_lists_its_engines() -> None:
    fact = replicas_fact(application(), [REPLICA])
    assert (REPLICA,) == replica_facts(fact)
    assert fact == ReplicasFact(
        namespace="team",
        application="qwen",
        generation=3,
        served_model="qwen2.5",
        runtime="llamacpp",
        desired=2,
        replicas=[REPLICA.to_message()],
    )


def test_an_application_that_is_being_deleted_desires_no_replicas() -> None:
    deleted = application(deletionTimestamp="2026-01-31T12:00:00Z")
    assert 0 == replicas_fact(deleted, [REPLICA]).desired


def test_the_fact_of_a_disaggregated_application_lists_its_routers() -> None:
    disaggregated = ArksDisaggregatedApplication.from_dict(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksDisaggregatedApplication",
            "metadata": metadata(),
            "spec": {
                "model": {"name": "m"},
                "servedModelName": "public",
                "router": {"replicas": 3},
                "prefill": {},
                "decode": {},
            },
        }
    )
    fact = replicas_fact(disaggregated, [])
    assert ("public", "sglang-router", 3) == (fact.served_model, fact.runtime, fact.desired)


def test_the_fact_of_an_endpoint_has_its_affinity() -> None:
    def affinity(**spec: object) -> EndpointAffinity | None:
        endpoint = ArksEndpoint.from_dict({"metadata": {"name": "chat", "namespace": "team"}, "spec": spec})
        fact = endpoint_fact(endpoint, [], ready=True, reason="Routed", message="")
        return fact.affinity if fact.HasField("affinity") else None

    assert affinity() is None
    assert EndpointAffinity(prompt_bytes=1024) == affinity(affinity={})
    given = {"header": "Session-Id", "promptBytes": 0}
    assert EndpointAffinity(header="session-id") == affinity(affinity=given)


def test_the_fact_of_an_endpoint_has_the_time_of_its_creation() -> None:
    created = metadata(creationTimestamp="2026-01-01T00:00:00Z")
    endpoint = ArksEndpoint.from_dict({"metadata": created, "spec": {}})
    fact = endpoint_fact(endpoint, [], ready=True, reason="Routed", message="")
    assert datetime(2026, 1, 1, tzinfo=UTC) == fact.created_at.ToDatetime(UTC)


def test_the_fact_of_a_model_has_its_path_size_and_the_reason_of_its_ready_condition() -> None:
    model = ArksModel.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksModel", "metadata": metadata(), "spec": {"model": "Qwen/Qwen2.5"}}
    )
    ready = Condition(
        type="Ready",
        status=ConditionStatus.TRUE,
        reason="Loaded",
        message="all files",
        last_transition_time=datetime(2026, 1, 31, tzinfo=UTC),
    )
    status = ArksModelStatus(
        phase=ModelPhase.READY, observed_generation=3, conditions=[ready], path="/models/a", size_bytes=7
    )
    assert model_fact(model, status, pvc_name="models") == ModelFact(
        namespace="team",
        name="qwen",
        generation=3,
        ready=True,
        path="/models/a",
        model="Qwen/Qwen2.5",
        size_bytes=7,
        reason="Loaded",
        message="all files",
        claim_name="models",
    )
    assert not model_fact(model, ArksModelStatus()).ready


def test_the_fact_of_an_endpoint_lists_the_replicas_that_it_routes_to() -> None:
    endpoint = ArksEndpoint.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksEndpoint", "metadata": metadata(), "spec": {}}
    )
    routed = RoutedReplica(application="app", name="app-0", host="10.0.0.7", port=8000, weight=60)
    fact = endpoint_fact(endpoint, [routed], ready=True, reason="Routed", message="1 replica")
    assert fact == EndpointFact(
        namespace="team",
        name="qwen",
        generation=3,
        ready=True,
        reason="Routed",
        message="1 replica",
        replicas=[routed],
    )
    assert {("team", "app", "app-0"): 60} == weights_by_replica([fact])
