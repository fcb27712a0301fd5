import math

import pytest

from arks.endpoint_router.domain import Reading, Signals, doubt, observe
from arks.endpoint_router.domain.load import FORGET_SECONDS, SMOOTHING_SECONDS


def reading(at: float = 100.0, running: float | None = 2.0, waiting: float | None = 0.0, **more: float) -> Reading:
    return Reading(at, running, waiting, **more)  # type: ignore[arg-type]


def test_a_fresh_reading_is_believed() -> None:
    assert doubt(observe(None, reading()), now=100.5) is None


def test_no_reading_is_doubted() -> None:
    assert "no load was reported" == doubt(None, now=100.0)


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
def test_a_reading_that_cannot_be_true_is_doubted(bad: Reading, words: str) -> None:
    assert words == doubt(observe(None, bad), now=100.0)


def test_speed_is_the_drain_rate_for_each_request_under_way() -> None:
    assert 2.5 == observe(None, reading(running=4.0, drain_rate=10.0)).speed


def test_speed_does_not_depend_on_how_much_traffic_a_replica_gets() -> None:
    little = observe(None, reading(running=1.0, drain_rate=2.5))
    much = observe(None, reading(running=8.0, drain_rate=20.0))
    assert little.speed == much.speed


def test_an_idle_replica_keeps_the_speed_that_was_measured_while_it_was_busy() -> None:
    busy = observe(None, reading(at=100.0, running=4.0, drain_rate=10.0))
    idle = observe(busy, reading(at=100.0 + 6 * SMOOTHING_SECONDS, running=0.0, drain_rate=10.0))
    assert 2.5 == idle.speed


def test_a_speed_from_long_ago_is_forgotten() -> None:
    busy = observe(None, reading(at=100.0, running=4.0, drain_rate=10.0))
    later = observe(busy, reading(at=101.0 + FORGET_SECONDS, running=0.0))
    assert later.speed is None


def test_a_reading_that_cannot_be_believed_changes_nothing_that_was_learned() -> None:
    busy = observe(None, reading(at=100.0, running=4.0, drain_rate=10.0))
    after = observe(busy, reading(at=100.2, running=math.nan, drain_rate=1e9))
    assert (busy.speed, busy.mean_running, busy.learned_at) == (after.speed, after.mean_running, after.learned_at)


def test_speed_moves_slowly_because_requests_differ_in_length() -> None:
    signals: Signals = observe(None, reading(at=100.0, running=4.0, drain_rate=10.0))
    signals = observe(signals, reading(at=100.2, running=4.0, drain_rate=30.0))
    assert signals.speed is not None
    assert 2.5 < signals.speed < 2.7
