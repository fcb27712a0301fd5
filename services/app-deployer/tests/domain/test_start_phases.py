from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from arks.app_deployer.domain.start_phases import Run, StartPhases


def test_a_start_is_the_sum_of_its_phases() -> None:
    phases = StartPhases.of(100.0, 103.25, 104.0)
    assert (3.25, 0.75, 4.0) == (phases.load_seconds, phases.warm_up_seconds, phases.seconds)
    assert "4.0 s (3.2 s to load, 0.8 s to the first token)" == str(phases)


def test_a_clock_that_was_set_back_makes_no_phase_negative() -> None:
    assert StartPhases(0.0, 0.0) == StartPhases.of(100.0, 90.0, 80.0)


def at(seconds: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def test_phases_of_a_pod_are_the_times_between_what_kubernetes_observes() -> None:
    runs = [Run(False, at(3), at(4)), Run(True, at(10), at(30))]
    phases = StartPhases.of_pod(at(0), at(2), runs, at(31), at(60)).warmed_up(0.5)
    assert {"prepare": 3, "image": 8, "read-ahead": 20, "load": 29, "warm-up": 0.5} == dict(phases.items())
    assert 60.5 == phases.seconds


def test_a_container_that_was_started_again_has_only_its_load() -> None:
    assert {"load": 29} == dict(StartPhases.of_pod(None, at(2), [], at(31), at(60)).items())


@given(times=st.lists(st.integers(0, 1000), min_size=5, max_size=5).map(sorted))
def test_the_phases_of_a_pod_add_up_to_the_time_from_its_node_to_ready(times: list[int]) -> None:
    scheduled, prepared, read, started, ready = map(at, times)
    phases = StartPhases.of_pod(scheduled, prepared, [Run(True, prepared, read)], started, ready)
    assert times[4] - times[0] == phases.seconds
