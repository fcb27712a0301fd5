"""Load reports of replicas that have nothing to do: Envoy gets nothing from them, and nothing is missed."""

from datetime import timedelta

from arks.contracts.facts import ReplicaState
from arks.contracts.load import STALE_IDLE_SECONDS
from arks.endpoint_router.domain import Decision
from arks.endpoint_router.testing.harness import RouterHarness
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.testing.clock import FakeClock

REPLICAS = ("a-0", "a-1")


def harness() -> RouterHarness:
    made = RouterHarness(FakeClock())
    made.apply("chat")
    made.write_fact(states=[ReplicaState.READY] * 2)
    made.router.start()
    return made


def report(made: RouterHarness, ages: tuple[float, ...] = (0.0, 0.0)) -> None:
    load = LoadReport(namespace="team", application="a")
    load.measured_at.FromDatetime(made.clock.now())
    for name, age in zip(REPLICAS, ages, strict=True):
        replica = load.replicas.add(name=name, running_requests=0, waiting_requests=0)
        replica.measured_at.FromDatetime(made.clock.now() - timedelta(seconds=age))
        replica.finished_requests_total = 7
    made.handle_load(load)


def idle(made: RouterHarness, seconds: float) -> None:
    for _ in range(int(4 * seconds)):
        made.clock.advance(0.25)
        report(made)
        made.router.tick()


def newest(made: RouterHarness) -> Decision:
    ((_, decision),) = made.router.decisions()
    return decision


def test_reports_that_change_only_times_change_nothing_in_envoy() -> None:
    made = harness()
    report(made)
    routed = len(made.envoy.decisions)
    idle(made, 30)
    assert routed == len(made.envoy.decisions)


def test_reports_that_change_only_times_cost_no_decision() -> None:
    made = harness()
    idle(made, 1)
    decided_at = newest(made).now
    idle(made, 30)
    assert decided_at == newest(made).now


def test_reports_every_two_seconds_cost_no_decision_either() -> None:
    made = harness()
    idle(made, 1)
    decided_at = newest(made).now
    for step in range(1, 61):
        made.clock.advance(0.5)
        made.router.tick()
        if not step % 4:
            made.clock.advance(0.2)  # a tick of metrics later
            made.router.tick()
            report(made)
    assert decided_at == newest(made).now


def test_reports_that_stop_are_noticed_within_a_second_after_they_are_stale() -> None:
    made = harness()
    idle(made, 30)
    for _ in range(int(2 * (STALE_IDLE_SECONDS + 1))):
        made.clock.advance(0.5)
        made.router.tick()
    assert all("s old" in (candidate.doubt or "") for candidate in newest(made).candidates)


def test_an_explanation_has_the_times_of_the_last_report() -> None:
    made = harness()
    idle(made, 30)
    found = made.router.explain(next(made.router.decisions())[0])
    assert found is not None
    assert [0.0, 0.0] == [candidate["signals"]["ageSeconds"] for candidate in found["newest"]["candidates"]]


def test_a_replica_that_does_not_answer_any_more_is_noticed_while_all_are_idle() -> None:
    made = harness()
    idle(made, 30)
    for age in range(6):
        made.clock.advance(1)
        report(made, ages=(0.0, 1.0 + age))
    fresh, old = newest(made).candidates
    assert (None, "its last load report is 6 s old") == (fresh.doubt, old.doubt)
