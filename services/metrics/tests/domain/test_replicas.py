"""The entry of a replica in a load report, and the interval of retries."""

from datetime import UTC, datetime

import pytest

from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.rates import Rates
from arks.metrics.domain.replicas import Failure, Reading, ReplicaReport, failed, report_of, retry_seconds

READING = Reading(Snapshot(1.0, 0.0), Rates(), datetime(2026, 1, 1, tzinfo=UTC), 0.01)


def test_a_replica_that_answered_is_reported_with_its_reading() -> None:
    assert ReplicaReport(READING, "") == report_of(READING, None, queried_at=None, now=5.0, late_seconds=0.6)


def test_an_answer_a_little_late_changes_nothing() -> None:
    assert ReplicaReport(READING, "") == report_of(READING, None, queried_at=4.5, now=5.0, late_seconds=0.6)


def test_an_answer_that_is_overdue_is_a_problem_with_its_age() -> None:
    assert ReplicaReport(READING, "no answer for 1.5 s") == report_of(
        READING, None, queried_at=3.5, now=5.0, late_seconds=0.6
    )


def test_a_failure_is_a_problem_with_its_age_even_while_it_is_queried_again() -> None:
    report = report_of(READING, Failure("connection refused", since=3.0), queried_at=4.9, now=5.0, late_seconds=0.6)
    assert ReplicaReport(READING, "connection refused (for 2.0 s)") == report


def test_a_replica_that_was_never_read_is_a_problem() -> None:
    assert ReplicaReport(None, "not read yet") == report_of(None, None, queried_at=None, now=0.0, late_seconds=0.6)


def test_failures_in_a_row_keep_the_time_of_the_first() -> None:
    assert Failure("b", since=1.0, count=2) == failed(failed(None, "a", 1.0), "b", 2.0)


@pytest.mark.parametrize(
    ("count", "seconds"), [(1, 0.2), (10, 0.2), (11, 0.4), (12, 0.8), (13, 1.6), (14, 2.0), (999, 2.0)]
)
def test_a_silent_replica_is_queried_each_tick_at_first_and_rarely_later(count: int, seconds: float) -> None:
    assert pytest.approx(seconds) == retry_seconds(Failure("", 0.0, count), 0.2)
