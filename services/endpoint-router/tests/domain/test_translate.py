import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.resources import ArksEndpoint
from arks.endpoint_router.domain import Loads, Report, StaticRoute
from arks.endpoint_router.domain.native import Reading
from arks.endpoint_router.domain.translate import application, endpoint_spec, unsupported_settings
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad

AT = Timestamp(seconds=100, nanos=500_000_000)


def endpoint(**spec: object) -> ArksEndpoint:
    return ArksEndpoint.from_dict({"metadata": {"name": "chat", "namespace": "team"}, "spec": spec})


def reading(load: ReplicaLoad) -> Reading:
    """Return the reading that follows from a report of one replica."""
    load.name = "a-0"
    report = LoadReport(measured_at=Timestamp(seconds=99), replicas=[load])
    after = Loads().of([("a-0", 0, 9000)]).after(Report(report.SerializeToString()))
    signals = after.signals("a-0", 0) if after is not None else None
    assert signals is not None
    return signals.reading


def test_a_signal_that_is_absent_stays_absent() -> None:
    assert Reading(100.5, running=None, waiting=0.0) == reading(ReplicaLoad(measured_at=AT, waiting_requests=0))


def test_a_reading_without_a_time_has_that_of_its_report() -> None:
    assert 99.0 == reading(ReplicaLoad(waiting_requests=0)).measured_at


def test_every_signal_is_translated() -> None:
    load = ReplicaLoad(
        measured_at=AT,
        running_requests=1,
        waiting_requests=2,
        drain_rate_per_second=3,
        generation_tokens_per_second=4,
        kv_cache_usage_ratio=0.9,
        slots=5,
        generation_tokens_total=70,
        finished_requests_total=6,
        problem="slow",
        held=True,
    )
    assert Reading(100.5, 1.0, 2.0, 3.0, 4.0, 0.9, 5, 70.0, 6.0, "slow", held=True) == reading(load)


def test_a_replica_in_an_unknown_state_gets_no_traffic() -> None:
    fact = ReplicasFact(application="a")
    fact.replicas.append(ReplicaFact("a-0", state=ReplicaState.READY).to_message())
    newer = ReplicasFact.FromString(fact.SerializeToString().replace(b"\x20\x02", b"\x20\x63"))
    assert ([ReplicaState.READY], [ReplicaState.STARTING]) == (
        [replica.state for replica in application(fact).replicas],
        [replica.state for replica in application(newer).replicas],
    )


def test_static_entries_are_translated() -> None:
    routes = [{"name": "arks-application-a", "port": 8080, "weight": 3, "filters": [{"type": "URLRewrite"}]}]
    found = endpoint_spec(endpoint(defaultWeight=2, routeConfigs=routes))
    assert (2, (StaticRoute("arks-application-a", 3, 8080, None, None, filtered=True),)) == (
        found.default_weight,
        found.routes,
    )


def test_affinity_is_translated() -> None:
    specs = [endpoint_spec(endpoint(affinity=affinity)) for affinity in (None, {}, {"maxLoadPercent": 200})]
    assert [None, 125, 200] == [spec.load_limit_percent for spec in specs]


@pytest.mark.parametrize(
    ("spec", "notes"),
    [
        ({}, 0),
        ({"matchConfigs": [{"path": {"type": "PathPrefix", "value": "/"}}]}, 0),
        ({"matchConfigs": [{"path": {"type": "Exact", "value": "/v1/chat/completions"}}]}, 1),
        ({"matchConfigs": [{"path": {"type": "PathPrefix", "value": "/"}, "method": "POST"}]}, 1),
    ],
)
def test_matches_that_exclude_requests_are_reported_as_ignored(spec: dict[str, object], notes: int) -> None:
    assert notes == len(unsupported_settings(endpoint(**spec)))


def test_a_gateway_without_a_route_is_reported_as_without_effect() -> None:
    attached = endpoint(gatewayRef={"name": "arks-eg"}, matchConfigs=[{"method": "POST"}])
    assert (2, ()) == (len(unsupported_settings(attached)), unsupported_settings(attached, attached=True))
