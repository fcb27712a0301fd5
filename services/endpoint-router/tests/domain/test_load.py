import math

import pytest

from arks.endpoint_router.domain import Unit
from arks.endpoint_router.domain.native import FORGET_SECONDS, WARM_UP_SECONDS, Reading, Signals, observe
from arks.endpoint_router.testing.decisions import doubt


def reading(at: float = 100.0, running: float | None = 2.0, waiting: float | None = 0.0, **more: float) -> Reading:
    return Reading(at, running, waiting, **more)  # type: ignore[arg-type]


def test_a_fresh_reading_is_used() -> None:
    assert doubt(observe(None, reading()), now=100.5) is None


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (reading(at=96.0), "its last load report is 4 s old"),
        (reading(at=105.0), "its load report is from 5 s in the future"),
        (reading(running=-1.0), "its engine reports running = -1.0"),
        (reading(running=math.nan), "its engine reports running = nan"),
        (reading(waiting=math.inf), "its engine reports waiting = inf"),
        (reading(drain_rate=-2.0), "its engine reports drain rate = -2.0"),
        (reading(kv_usage=45.0), "its engine reports KV-cache use = 45.0"),
        (reading(running=None, waiting=None), "its engine reports neither running nor waiting requests"),
        (Reading(100.0, 0.0, 0.0, problem="connection refused"), "metrics could not read it: connection refused"),
    ],
)
def test_an_implausible_reading_is_doubted(bad: Reading, words: str) -> None:
    assert words == doubt(observe(None, bad), now=100.0)


@pytest.mark.parametrize(
    ("running", "seconds", "words"),
    [(3.0, 4.75, None), (3.0, 5.0, "its numbers have not changed for 5 s"), (1.0, 60.0, None)],
)
def test_numbers_that_stay_the_same_while_requests_run_are_doubted_after_some_seconds(
    running: float, seconds: float, words: str | None
) -> None:
    signals = after(seconds, running=running, tokens_total=100.0, finished_total=7.0)
    assert words == doubt(signals, now=100.0 + seconds)


def test_readings_of_a_single_replica_are_used_for_longer() -> None:
    assert doubt(observe(None, reading(at=80.0)), now=200.0, ready=1) is None
    assert "its last load report is 121 s old" == doubt(observe(None, reading(at=79.0)), now=200.0, ready=1)


def test_readings_without_work_are_used_until_the_second_report_after_them_is_missing() -> None:
    idle = observe(None, reading(at=95.0, running=0.0, waiting=0.0))
    assert doubt(idle, now=100.0) is None
    assert "its last load report is 6 s old" == doubt(idle, now=100.6)


def after(seconds: float, *, before: Signals | None = None, start: float = 100.0, **numbers: float) -> Signals:
    """Return signals after some seconds of equal readings, four a second."""
    signals = before
    for tick in range(int(seconds * 4) + 1):
        signals = observe(signals, reading(at=start + tick / 4, **numbers))
    assert signals is not None
    return signals


def test_speed_is_the_drain_rate_divided_by_requests_in_flight() -> None:
    assert pytest.approx(2.5) == after(20, running=4.0, drain_rate=10.0).speed(Unit.REQUESTS)


def test_speed_does_not_depend_on_how_much_traffic_a_replica_gets() -> None:
    little = after(20, running=1.0, drain_rate=2.5)
    much = after(20, running=8.0, drain_rate=20.0)
    assert little.speed(Unit.REQUESTS) == pytest.approx(much.speed(Unit.REQUESTS))


def test_speed_is_unknown_until_a_replica_has_been_busy_for_some_time() -> None:
    assert after(WARM_UP_SECONDS - 1, running=4.0, drain_rate=10.0).speed(Unit.REQUESTS) is None


def test_an_idle_replica_keeps_the_speed_that_was_measured_while_it_was_busy() -> None:
    busy = after(20, running=4.0, drain_rate=10.0)
    idle = after(300, before=busy, start=120.0, running=0.0, drain_rate=10.0)
    assert pytest.approx(2.5) == idle.speed(Unit.REQUESTS)


def test_a_speed_from_long_ago_is_forgotten() -> None:
    busy = after(20, running=4.0, drain_rate=10.0)
    later = observe(busy, reading(at=121.0 + FORGET_SECONDS, running=0.0, drain_rate=10.0))
    assert later.speed(Unit.REQUESTS) is None


@pytest.mark.parametrize("busy_part", [0.1, 0.5, 1.0])
def test_tokens_that_are_counted_when_a_request_ends_give_the_same_speed_at_any_utilisation(busy_part: float) -> None:
    """A request of 2 s and 40 tokens at a time; the engine counts them at its end, and the window is 5 s."""
    signals, ends, period = None, list[float](), 2.0 / busy_part
    for tick in range(600 * 4):
        at = tick / 4
        running = 1.0 if at % period < 2.0 else 0.0
        if at % period == min(2.0, period - 0.25):
            ends.append(at)
        rate = 40 * sum(1 for end in ends[-10:] if at - 5 < end <= at) / 5
        signals = observe(signals, reading(at=1_000 + at, running=running, token_rate=rate))
    assert signals is not None
    speed = signals.speed(Unit.TOKENS)
    assert speed is not None
    assert 15 < speed < 25


def test_a_queue_counts_when_it_stays() -> None:
    calm = after(20, waiting=0.0)
    burst = observe(calm, reading(at=120.25, waiting=40.0))
    longer = after(30, before=burst, start=120.5, waiting=40.0)
    assert burst.mean_waiting < 2
    assert longer.mean_waiting > 35


def test_an_implausible_reading_changes_no_mean() -> None:
    busy = after(20, running=4.0, drain_rate=10.0)
    worse = observe(busy, reading(at=120.2, running=math.nan, drain_rate=1e12))
    assert busy.speed(Unit.REQUESTS) == worse.speed(Unit.REQUESTS)
    assert (busy.busy_seconds, busy.updated_at) == (worse.busy_seconds, worse.updated_at)


def test_speed_moves_slowly_because_requests_differ_in_length() -> None:
    busy = after(60, running=4.0, drain_rate=10.0)
    faster = observe(busy, reading(at=160.2, running=4.0, drain_rate=30.0))
    speed = faster.speed(Unit.REQUESTS)
    assert speed is not None
    assert 2.5 < speed < 2.6


def test_tokens_of_a_part_that_joins_with_a_history_of_its_own_are_no_speed() -> None:
    signals, speeds = None, list[float | None]()
    for step in range(100):
        total = 100.0 * step + (1e6 if step >= 90 else 0.0)
        signals = observe(signals, reading(100 + 0.2 * step, 10.0, tokens_total=total, finished_total=float(step)))
        speeds.append(signals.speed(Unit.TOKENS))
    assert [50.0] * 20 == pytest.approx(speeds[80:])


def test_time_without_tokens_counts_with_the_request_that_ends_it() -> None:
    """One request of 2 s and 40 tokens at a time; the engine counts them at its end."""
    signals, speeds = None, list[float | None]()
    for tick in range(160):
        ended = float(tick // 8)
        signals = observe(signals, reading(100 + tick / 4, 1.0, tokens_total=40 * ended, finished_total=ended))
        speeds.append(signals.speed(Unit.TOKENS))
    assert [20.0] * 100 == pytest.approx(speeds[-100:], rel=0.05)


def test_time_without_requests_makes_no_measurement_older() -> None:
    def worked(before: Signals | None, at: float, done: float) -> Signals:
        return observe(before, reading(at, 10.0, tokens_total=100.0 * done, finished_total=done))

    signals: Signals | None = None
    for step in range(200):
        signals = worked(signals, 1_000.0 + step / 4, float(step))
    for step in range(160):
        signals = observe(signals, reading(1_050.0 + step / 4, 0.0, tokens_total=19_900.0, finished_total=199.0))
    assert signals is not None
    before = signals.speed(Unit.TOKENS)
    signals = worked(signals, 1_090.0, 199.0)
    after = worked(signals, 1_090.25, 200.5).speed(Unit.TOKENS)
    assert before == pytest.approx(after, rel=0.02)


def test_requests_that_a_page_still_shows_after_their_end_are_no_work() -> None:
    """SGLang leaves running requests at the last batch for up to 30 s: 20 s of work, then 30 s of rest, in turn."""
    signals: Signals | None = None
    tokens = 0.0
    for tick in range(4 * 400):
        at, phase = 100 + tick / 4, tick / 4 % 50
        works = phase < 20
        tokens += 24 * 50 / 4 if works else 0.0
        finished = tokens // 1000
        signals = observe(
            signals, reading(at=at, running=24, tokens_total=tokens, finished_total=finished, held=phase >= 30)
        )
    assert signals is not None
    speed = signals.speed(Unit.TOKENS)
    assert speed == pytest.approx(50, rel=0.15)
    assert signals.mean_in_flight < 1
