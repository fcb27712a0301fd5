import pytest

from arks.contracts.load import stale_seconds
from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.idle import (
    FIRST_READS_PER_SECOND,
    LONGEST_SECONDS,
    READS_PER_SECOND,
    REPORT_SECONDS,
    REST_AFTER_SECONDS,
    REST_SECONDS,
    Idleness,
    first_seconds,
    report_seconds,
)

TICKS_LATE = 3
IDLE = Snapshot(running_requests=0, waiting_requests=0, generation_tokens=100)
TICK = 0.2


def test_a_replica_rests_after_some_time_without_work() -> None:
    first = Idleness.at_first(IDLE, 0.0)
    later = first.after(IDLE, REST_AFTER_SECONDS - 1)
    latest = later.after(IDLE, REST_AFTER_SECONDS)
    assert [TICK, TICK, REST_SECONDS] == [idleness.pause_seconds(1, TICK) for idleness in (first, later, latest)]


def test_reports_of_replicas_that_rest_are_never_as_old_as_routing_or_that_of_the_release_before_rejects() -> None:
    assert REPORT_SECONDS + TICKS_LATE * TICK < stale_seconds(2)
    assert [0.0, REPORT_SECONDS] == [report_seconds(1), report_seconds(2)]


@pytest.mark.parametrize(
    "seen",
    [
        Snapshot(running_requests=1, waiting_requests=0, generation_tokens=100),
        Snapshot(running_requests=0, waiting_requests=1, generation_tokens=100),
        Snapshot(running_requests=0, waiting_requests=0, generation_tokens=101),
    ],
)
def test_work_ends_its_rest_also_when_it_was_done_between_two_looks(seen: Snapshot) -> None:
    rested = Idleness.at_first(IDLE, 0.0).after(IDLE, 20.0)
    assert rested.idle
    assert not rested.after(seen, 30.0).idle


def test_many_that_are_idle_are_read_no_more_often_together_than_a_few() -> None:
    idle = Idleness.at_first(IDLE, 0.0)
    assert [TICK, 300 / READS_PER_SECOND, LONGEST_SECONDS] == [idle.pause_seconds(n, TICK) for n in (1, 300, 10_000)]


def test_first_looks_at_many_are_spread() -> None:
    assert [TICK, 500 / FIRST_READS_PER_SECOND] == [first_seconds(n, TICK) for n in (5, 500)]
