"""Speeds out of counters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.rates import History, Rates, Windows, observe, rates

WINDOWS = Windows(tokens_seconds=5.0, drain_seconds=30.0)


def after(*readings: tuple[float, Snapshot]) -> Rates:
    history = History()
    for at, snapshot in readings:
        history = observe(history, snapshot, at, WINDOWS)
    return rates(history)


def busy(tokens: float = 0.0, finished: float = 0.0, running: float = 1.0) -> Snapshot:
    return Snapshot(running, 0.0, None, tokens, tokens, finished)


def test_one_reading_gives_no_speed() -> None:
    assert Rates() == after((0.0, busy(100, 5)))


def test_tokens_a_second_are_those_of_the_window() -> None:
    readings = [(second * 0.2, busy(tokens=second * 20)) for second in range(100)]
    assert pytest.approx(100.0) == after(*readings).generation_tokens_per_second


def test_what_happened_before_the_window_does_not_count() -> None:
    fast = [(step * 0.2, busy(tokens=step * 200)) for step in range(50)]
    still = [(10.0 + step * 0.2, busy(tokens=49 * 200)) for step in range(50)]
    assert 0.0 == after(*fast, *still).generation_tokens_per_second


def test_tokens_counted_in_jumps_are_spread_over_the_window() -> None:
    readings = [(step * 0.2, busy(tokens=step * 0.2 // 2 * 50)) for step in range(60)]
    speed = after(*readings).generation_tokens_per_second
    assert speed is not None
    assert 15 <= speed <= 35


def llamacpp(steps: float, tokens: float, running: float = 1.0) -> Snapshot:
    return Snapshot(running, 0.0, None, 0.0, tokens, None, steps, digits=6, tokens_at_end=True)


@pytest.mark.parametrize("total", [0, 2e6], ids=["new", "of-millions"])
def test_an_answer_that_counts_at_its_end_has_its_speed_from_the_first_second_to_the_last(total: float) -> None:
    """30 tokens a second for a minute, then the counter has them all; two answers at once have twice the speed."""
    for running in (1, 2):
        answer = [(10 + step / 5, llamacpp(1000 + step * 6, total, running)) for step in range(300)]
        end = [(70 + step / 5, llamacpp(2800, total + 1800 * running, 0)) for step in range(50)]
        history, speeds = History(), []
        for at, snapshot in [(0.0, llamacpp(1000, total, 0)), (9.8, llamacpp(1000, total, 0)), *answer, *end]:
            history = observe(history, snapshot, at, WINDOWS)
            speeds.append((at, rates(history).generation_tokens_per_second or 0.0))
        assert pytest.approx(30.0 * running, rel=0.1) == min(speed for at, speed in speeds if 16 < at < 70)
        assert max(speed for _, speed in speeds) < 33 * running
        assert 0.0 == speeds[-1][1]


def test_short_answers_have_the_speed_of_the_counter_whatever_their_steps() -> None:
    """The first five readings, of which no answer has ended, are estimated too high."""
    readings = [(step / 5, llamacpp(step * 100, step // 5 * 20)) for step in range(100)]
    assert pytest.approx(20.0, rel=0.2) == after(*readings).generation_tokens_per_second


def test_steps_that_are_printed_by_the_hundred_give_no_tokens() -> None:
    assert (
        0.0
        == after(
            *[(float(second), llamacpp(1e8 + second * 100, 50.0)) for second in range(30)]
        ).generation_tokens_per_second
    )


def test_a_counter_that_the_page_does_not_have_gives_no_speed() -> None:
    readings = [(float(second), Snapshot(1.0, 0.0, None, second * 10.0, None, None)) for second in range(4)]
    assert Rates(prompt_tokens_per_second=10.0) == after(*readings)


def test_drain_rate_counts_busy_time_only() -> None:
    working = [(float(second), busy(finished=second * 2.0)) for second in range(11)]
    idle = [(10.0 + second, busy(finished=20.0, running=0.0)) for second in range(1, 60)]
    assert pytest.approx(20 / 11) == after(*working, *idle).drain_rate_per_second


def test_drain_rate_is_unknown_until_a_busy_second_has_passed() -> None:
    assert after((0.0, busy()), (0.9, busy(finished=3))).drain_rate_per_second is None


def test_requests_that_ran_between_two_idle_looks_count_as_work() -> None:
    readings = [(float(second), busy(finished=float(second), running=0.0)) for second in range(5)]
    assert 1.0 == after(*readings).drain_rate_per_second


def test_drain_rate_forgets_what_is_older_than_its_busy_window() -> None:
    fast = [(float(second), busy(finished=second * 10.0)) for second in range(20)]
    slow = [(20.0 + second, busy(finished=190.0 + second)) for second in range(40)]
    assert pytest.approx(1.0) == after(*fast, *slow).drain_rate_per_second


def test_an_engine_that_started_again_is_known_as_little_as_a_new_one() -> None:
    before = [(float(second), busy(tokens=second * 10.0, finished=second)) for second in range(10)]
    assert Rates() == after(*before, (10.0, busy(tokens=3.0)))


def test_a_cancelled_request_that_is_subtracted_before_it_ends_is_no_restart() -> None:
    finished = {3: 2.0}
    readings = [
        (float(second), busy(tokens=second * 10.0, finished=finished.get(second, second))) for second in range(6)
    ]
    assert Rates(10.0, 10.0, 1.0) == after(*readings)
    assert 0.0 == after(*[(float(second), busy(finished=3.0 - second)) for second in range(3)]).drain_rate_per_second


def test_after_a_restart_speeds_are_those_of_the_new_engine() -> None:
    before = [(float(second), busy(tokens=second * 10.0)) for second in range(10)]
    again = [(10.0 + second, busy(tokens=second * 7.0)) for second in range(4)]
    assert pytest.approx(7.0) == after(*before, *again).generation_tokens_per_second


@given(
    st.lists(
        st.tuples(st.floats(0.001, 20), st.integers(0, 1000), st.integers(0, 50), st.booleans(), st.booleans()),
        max_size=80,
    )
)
def test_speeds_are_never_negative_and_what_is_remembered_is_bounded(
    steps: list[tuple[float, int, int, bool, bool]],
) -> None:
    history, now, tokens, finished = History(), 0.0, 0, 0
    for seconds, more_tokens, more_finished, running, restart in steps:
        now += seconds
        tokens, finished = (0, 0) if restart else (tokens + more_tokens, finished + more_finished)
        history = observe(history, busy(tokens, finished, float(running)), now, WINDOWS)
        speeds = rates(history)
        for value in (speeds.generation_tokens_per_second, speeds.drain_rate_per_second):
            assert value is None or value >= 0
        assert len(history.points) <= 12
        assert len(history.busy) <= 32


@given(st.integers(1, 500), st.floats(0.05, 0.25))
def test_a_steady_engine_has_its_speed_whatever_the_beat(per_second: int, beat: float) -> None:
    readings = [(step * beat, busy(step * beat * per_second, step * beat * per_second)) for step in range(60)]
    speeds = after(*readings)
    assert pytest.approx(per_second) == speeds.generation_tokens_per_second
    assert pytest.approx(per_second) == speeds.drain_rate_per_second


def test_a_series_that_joins_with_a_history_of_its_own_is_no_work() -> None:
    before = [(step * 0.2, busy(tokens=step * 200)) for step in range(50)]
    joined = [(10.0 + step * 0.2, busy(tokens=5e5 + step * 200)) for step in range(50)]
    speeds = [after(*before, *joined[:count]).generation_tokens_per_second for count in range(50)]
    assert max(speed for speed in speeds if speed is not None) == pytest.approx(1000.0)


@pytest.mark.parametrize("total", [1e6, 2.5e7, 2.5e8])
@pytest.mark.parametrize("speed", [20.0, 300.0])
def test_the_speed_of_a_counter_with_six_digits_is_right_at_every_reading(total: float, speed: float) -> None:
    """llama.cpp prints 2.5e+08 until a thousand tokens more have been generated."""
    history, found = History(), []
    for reading in range(2_000):
        at = reading * 0.2
        printed = float(f"{total + speed * at:.6g}")
        history = observe(history, Snapshot(1.0, 0.0, None, None, printed, None, digits=6), at, WINDOWS)
        found.append(rates(history).generation_tokens_per_second)
    settled = [value or 0.0 for value in found[len(found) // 2 :]]
    assert [speed] * len(settled) == pytest.approx(settled, rel=0.12)


def test_a_counter_with_six_digits_that_stops_has_no_speed_before_long() -> None:
    history = History()
    for reading in range(600):
        at = reading * 0.2
        printed = float(f"{2.5e8 + 1_000 * min(at, 60.0):.6g}")
        history = observe(history, Snapshot(1.0, 0.0, None, None, printed, None, digits=6), at, WINDOWS)
    speed = rates(history).generation_tokens_per_second
    assert speed is not None
    assert speed < 20
