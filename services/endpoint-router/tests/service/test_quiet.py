"""Load reports of replicas that have nothing to do: they cost no decision, and nothing is missed."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.facts import ReplicaState
from arks.contracts.load import STALE_IDLE_SECONDS
from arks.endpoint_router.domain import Decision
from arks.endpoint_router.service.quiet import QUIET_SECONDS, Quiet
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


def report(
    made: RouterHarness, running: float = 0, ages: tuple[float, ...] = (0.0, 0.0), finished: float = 7, gpu: float = 0
) -> None:
    load = LoadReport(namespace="team", application="a")
    load.measured_at.FromDatetime(made.clock.now())
    for name, age in zip(REPLICAS, ages, strict=True):
        replica = load.replicas.add(name=name, running_requests=running, waiting_requests=0, gpu_utilization_ratio=gpu)
        replica.measured_at.FromDatetime(made.clock.now() - timedelta(seconds=age))
        replica.finished_requests_total = finished
    made.router.handle_load(load)


def idle(made: RouterHarness, seconds: float) -> None:
    for _ in range(int(4 * seconds)):
        made.clock.advance(0.25)
        report(made)
        made.router.tick()


def newest(made: RouterHarness) -> Decision:
    ((_, decision),) = made.router.decisions()
    return decision


def test_reports_that_change_only_times_cost_no_decision() -> None:
    made = harness()
    idle(made, 11)
    decided_at = newest(made).now
    idle(made, 20)
    assert decided_at == newest(made).now


def test_reports_every_two_seconds_cost_no_decision_either() -> None:
    made = harness()
    idle(made, 11)
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


def test_the_use_of_gpus_is_no_reason_for_a_decision() -> None:
    made = harness()
    idle(made, 11)
    decided_at = newest(made).now
    made.clock.advance(0.25)
    report(made, gpu=0.5)
    assert decided_at == newest(made).now


def test_a_counter_that_moved_is_a_decision() -> None:
    made = harness()
    idle(made, 11)
    decided_at = newest(made).now
    made.clock.advance(0.25)
    report(made, finished=8)
    assert decided_at < newest(made).now


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


def test_the_first_request_is_a_decision_at_once() -> None:
    made = harness()
    report(made, running=1)
    idle(made, 30)
    made.clock.advance(0.25)
    report(made, running=4)
    first = newest(made).candidates[0].signals
    assert first is not None
    assert made.clock.now().timestamp() == newest(made).now
    assert (4.0, True) == (first.reading.running, (first.arrivals or 0.0) > 1.0)  # the gap to the last one is 0.25 s


runs = st.lists(st.tuples(st.sampled_from([0, 0, 1, 2]), st.integers(0, 1), st.integers(1, 25)), max_size=6)
"""Running requests, finished ones, and how many reports have both."""


@given(runs)
def test_a_report_confirms_only_a_run_of_equal_ones_without_work(runs: list[tuple[int, int, int]]) -> None:
    """What `take` compares, and what it skips, makes no difference to this rule."""
    loads = [(running, finished) for running, finished, count in runs for _ in range(count)]
    quiet, began = Quiet(), 0
    for second, (running, finished) in enumerate(loads):
        content = LoadReport(namespace="team", application="a")
        content.measured_at.seconds = second
        for name in REPLICAS:
            replica = content.replicas.add(name=name, running_requests=running, finished_requests_total=finished)
            replica.measured_at.seconds = second
        if second == 0 or running or loads[second - 1] != loads[second]:
            began = second
        assert (not running and second - began >= QUIET_SECONDS) == quiet.take(content)
