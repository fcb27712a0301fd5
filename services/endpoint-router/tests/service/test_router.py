"""What is routed, and when."""

import time
from datetime import timedelta

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain import WEIGHT_TOTAL, Reason
from arks.endpoint_router.testing.harness import CHAT, RouterHarness
from arks.events.v1.load_pb2 import LoadReport


def test_the_gateway_is_opened_only_after_everything_was_routed(harness: RouterHarness) -> None:
    harness.apply()
    harness.write_fact()
    assert (False, []) == (harness.envoy.opened, harness.envoy.decisions)
    harness.router.start()
    assert (True, ["team/chat"]) == (harness.envoy.opened, [name for name, _ in harness.envoy.decisions])


def test_a_new_ready_replica_is_routed_at_once(serving: RouterHarness) -> None:
    serving.write_fact(states=[ReplicaState.READY, ReplicaState.READY, ReplicaState.READY])
    assert {"a-0": 33_333, "a-1": 33_333, "a-2": 33_333} == serving.weights()


def test_a_draining_replica_gets_no_new_requests(serving: RouterHarness) -> None:
    serving.write_fact(states=[ReplicaState.READY, ReplicaState.DRAINING])
    assert {"a-0": WEIGHT_TOTAL, "a-1": 0} == serving.weights()


def test_an_application_that_changes_its_served_model_moves_to_the_other_endpoint(serving: RouterHarness) -> None:
    serving.apply("next")
    serving.write_fact(model="next")
    routed = {name: decision.reason for name, decision in serving.envoy.decisions}
    assert {"team/chat": Reason.NO_APPLICATION, "team/next": Reason.ROUTED} == routed


def test_an_endpoint_finds_applications_by_its_public_name(serving: RouterHarness) -> None:
    serving.apply("qwen", servedModelName="Qwen/Qwen2.5-7B")
    serving.write_fact("b", model="Qwen/Qwen2.5-7B")
    routed = dict(serving.envoy.decisions)["team/qwen"]
    assert (Reason.ROUTED, "Qwen/Qwen2.5-7B") == (routed.reason, routed.roster.engine_model)
    serving.apply("qwen")
    assert Reason.NO_APPLICATION is dict(serving.envoy.decisions)["team/qwen"].reason


def test_an_application_serves_with_its_ready_replicas(serving: RouterHarness) -> None:
    serving.write_fact(states=[ReplicaState.READY, ReplicaState.STARTING])
    assert {"a-0": WEIGHT_TOTAL, "a-1": 0} == serving.weights()


def test_a_static_entry_follows_its_application(serving: RouterHarness) -> None:
    serving.apply(routeConfigs=[{"name": "arks-application-b", "weight": 3}])
    serving.write_fact("b", model="something-else")
    assert {"a-0": 12_500, "a-1": 12_500, "b-0": 75_000} == serving.weights()


def test_different_load_changes_weights(serving: RouterHarness) -> None:
    serving.report_drain_rates(8.0, 2.0)
    assert serving.weights()["a-0"] > serving.weights()["a-1"]


def test_a_load_report_that_changes_nothing_is_not_pushed(serving: RouterHarness) -> None:
    serving.report_load(4.0, 4.0)  # the change of the source, from equal to engine
    decisions, queued = len(serving.envoy.decisions), len(serving.queued)
    for _ in range(20):
        serving.clock.advance(0.25)
        serving.report_load(4.1, 4.0)
    assert (decisions, queued) == (len(serving.envoy.decisions), len(serving.queued))


def test_a_load_report_that_changes_nothing_costs_less_than_a_millisecond_of_cpu_time(serving: RouterHarness) -> None:
    serving.write_fact(states=[ReplicaState.READY] * 4)
    reports = []
    for _ in range(1_000):
        serving.clock.advance(0.25)
        report = LoadReport(namespace="team", application="a")
        report.measured_at.FromDatetime(serving.clock.now())
        for n in range(4):
            report.replicas.add(name=f"a-{n}", running_requests=4, waiting_requests=0, drain_rate_per_second=4)
        reports.append(report.SerializeToString())
    start = time.process_time()
    for data in reports:
        serving.handle_load(LoadReport.FromString(data))
    assert (time.process_time() - start) / len(reports) < 0.001


def test_load_of_an_unknown_application_or_replica_is_dropped(serving: RouterHarness) -> None:
    before = len(serving.envoy.decisions)
    serving.report_load(1.0, application="z")
    assert before == len(serving.envoy.decisions)


def test_an_older_load_report_does_not_replace_a_newer_one(serving: RouterHarness) -> None:
    serving.report_load(4.0, 4.0)
    late = LoadReport(namespace="team", application="a")
    late.measured_at.FromDatetime(serving.clock.now() - timedelta(seconds=1))
    late.replicas.add(name="a-0", running_requests=4, waiting_requests=100)
    serving.handle_load(late)
    found = serving.router.explain(CHAT)
    assert found is not None
    assert isinstance(found["newest"], dict)
    assert 0.0 == found["newest"]["candidates"][0]["signals"]["waiting"]


def test_a_problem_of_a_replica_counts_though_its_last_reading_is_unchanged(serving: RouterHarness) -> None:
    serving.report_load(4.0, 4.0)
    good_at = serving.clock.now()
    serving.clock.advance(0.25)
    report = LoadReport(namespace="team", application="a")
    report.measured_at.FromDatetime(serving.clock.now())
    report.replicas.add(name="a-0", problem="connection refused").measured_at.FromDatetime(good_at)
    serving.handle_load(report)
    found = serving.router.explain(CHAT)
    assert found is not None
    assert isinstance(found["newest"], dict)
    assert "metrics could not read it: connection refused" in found["newest"]["candidates"][0]["reason"]


def test_weights_go_back_to_equal_when_load_reports_stop(serving: RouterHarness) -> None:
    serving.report_drain_rates(8.0, 2.0)
    assert serving.weights()["a-0"] > 2 * serving.weights()["a-1"]
    for _ in range(62):
        serving.clock.advance(10.0)
        serving.router.tick()
    assert {"a-0": 50_000, "a-1": 50_000} == serving.weights()
