import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from arks.contracts.resources.endpoint import ArksEndpoint
from arks.endpoint_router.domain import Reading, State, StaticRoute
from arks.endpoint_router.domain.translate import application, endpoint_spec, reading, unmet_wishes
from arks.events.v1.facts_pb2 import REPLICA_STATE_READY, Replica, ReplicasFact
from arks.events.v1.load_pb2 import ReplicaLoad

AT = Timestamp(seconds=100, nanos=500_000_000)


def endpoint(**spec: object) -> ArksEndpoint:
    return ArksEndpoint.from_dict({"metadata": {"name": "chat", "namespace": "team"}, "spec": spec})


def test_a_signal_that_is_absent_stays_absent() -> None:
    assert Reading(100.5, running=None, waiting=0.0) == reading(ReplicaLoad(measured_at=AT, waiting_requests=0), AT)


def test_a_reading_without_a_time_of_its_own_is_as_old_as_its_report() -> None:
    assert 100.5 == reading(ReplicaLoad(waiting_requests=0), AT).measured_at


def test_all_signals_are_taken_over() -> None:
    load = ReplicaLoad(
        measured_at=AT,
        running_requests=1,
        waiting_requests=2,
        drain_rate_per_second=3,
        generation_tokens_per_second=4,
        kv_cache_usage_ratio=0.9,
        slots=5,
        problem="slow",
    )
    assert Reading(100.5, 1.0, 2.0, 3.0, 4.0, 0.9, 5, "slow") == reading(load, AT)


def test_a_cache_that_only_counts_taken_slots_is_no_pressure() -> None:
    load = ReplicaLoad(measured_at=AT, running_requests=2, kv_cache_usage_ratio=1.0, slots=2)
    assert reading(load, AT).kv_usage is None


def test_a_state_that_we_do_not_know_gets_no_traffic() -> None:
    fact = ReplicasFact(application="a")
    fact.replicas.append(Replica(name="a-0", state=REPLICA_STATE_READY))
    newer = ReplicasFact.FromString(fact.SerializeToString().replace(b"\x20\x02", b"\x20\x63"))
    assert ([State.READY], [State.STARTING]) == (
        [one.state for one in application(fact).replicas],
        [one.state for one in application(newer).replicas],
    )


def test_static_entries_are_taken_over() -> None:
    routes = [{"name": "arks-application-a", "port": 8080, "weight": 3, "filters": [{"type": "URLRewrite"}]}]
    found = endpoint_spec(endpoint(defaultWeight=2, routeConfigs=routes))
    assert (2, (StaticRoute("arks-application-a", 3, 8080, None, None, filtered=True),)) == (
        found.default_weight,
        found.routes,
    )


@pytest.mark.parametrize(
    ("spec", "notes"),
    [
        ({}, 0),
        ({"matchConfigs": [{"path": {"type": "PathPrefix", "value": "/"}}]}, 0),
        ({"matchConfigs": [{"path": {"type": "Exact", "value": "/v1/chat/completions"}}]}, 1),
        ({"matchConfigs": [{"path": {"type": "PathPrefix", "value": "/"}, "method": "POST"}]}, 1),
    ],
)
def test_matches_that_narrow_something_are_said_to_be_left_out(spec: dict[str, object], notes: int) -> None:
    assert notes == len(unmet_wishes(endpoint(**spec)))


def test_a_gateway_that_nobody_attached_is_said_to_be_left_out() -> None:
    asked = endpoint(gatewayRef={"name": "arks-eg"}, matchConfigs=[{"method": "POST"}])
    assert (2, ()) == (len(unmet_wishes(asked)), unmet_wishes(asked, attached_elsewhere=True))
