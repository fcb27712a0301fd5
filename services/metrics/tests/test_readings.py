"""What is said of a replica and when it is asked again."""

from datetime import UTC, datetime

import pytest

from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.rates import Rates
from arks.metrics.domain.readings import Failure, Reading, Said, failed, retry_seconds, say, slot_usage

READING = Reading(Snapshot(1.0, 0.0), Rates(), datetime(2026, 1, 1, tzinfo=UTC), 0.01)


def test_a_replica_that_answered_is_said_as_read() -> None:
    assert Said(READING, "") == say(READING, None, asked_at=None, now=5.0, late_seconds=0.6)


def test_an_answer_a_little_late_changes_nothing() -> None:
    assert Said(READING, "") == say(READING, None, asked_at=4.5, now=5.0, late_seconds=0.6)


def test_an_answer_that_is_overdue_is_a_problem_with_its_age() -> None:
    assert Said(READING, "no answer for 1.5 s") == say(READING, None, asked_at=3.5, now=5.0, late_seconds=0.6)


def test_a_failure_is_a_problem_with_its_age_also_while_asked_again() -> None:
    said = say(READING, Failure("connection refused", since=3.0), asked_at=4.9, now=5.0, late_seconds=0.6)
    assert Said(READING, "connection refused (for 2.0 s)") == said


def test_a_replica_that_nobody_has_read_is_a_problem() -> None:
    assert Said(None, "not read yet") == say(None, None, asked_at=None, now=0.0, late_seconds=0.6)


def test_failures_in_a_row_keep_the_time_of_the_first() -> None:
    assert Failure("b", since=1.0, count=2) == failed(failed(None, "a", 1.0), "b", 2.0)


@pytest.mark.parametrize(
    ("count", "seconds"), [(1, 0.2), (10, 0.2), (11, 0.4), (12, 0.8), (13, 1.6), (14, 2.0), (999, 2.0)]
)
def test_a_silent_replica_is_asked_each_tick_first_and_rarely_later(count: int, seconds: float) -> None:
    assert pytest.approx(seconds) == retry_seconds(Failure("", 0.0, count), 0.2)


@pytest.mark.parametrize(
    ("snapshot", "slots", "usage"),
    [
        (Snapshot(1.0, kv_cache_usage_ratio=0.3), 4, 0.3),
        (Snapshot(1.0), 4, 0.25),
        (Snapshot(9.0), 4, 1.0),
        (Snapshot(1.0), 0, None),
        (Snapshot(None, 1.0), 4, None),
    ],
)
def test_busy_slots_stand_in_for_a_cache_usage_that_is_missing(
    snapshot: Snapshot, slots: int, usage: float | None
) -> None:
    assert usage == slot_usage(snapshot, slots)
