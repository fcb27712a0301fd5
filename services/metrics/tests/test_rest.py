import pytest

from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.rest import (
    LONGEST_SECONDS,
    READS_PER_SECOND,
    REST_AFTER_SECONDS,
    SHORTEST_SECONDS,
    Idleness,
    pause_seconds,
)

IDLE = Snapshot(running_requests=0, waiting_requests=0, generation_tokens=100)


def test_a_replica_rests_after_some_time_without_work() -> None:
    idle = Idleness(0.0, IDLE).after(IDLE, 5.0)
    assert [False, True] == [idle.rests(REST_AFTER_SECONDS - 1), idle.rests(REST_AFTER_SECONDS)]


@pytest.mark.parametrize(
    "seen",
    [
        Snapshot(running_requests=1, waiting_requests=0, generation_tokens=100),
        Snapshot(running_requests=0, waiting_requests=1, generation_tokens=100),
        Snapshot(running_requests=0, waiting_requests=0, generation_tokens=101),
    ],
)
def test_work_ends_its_rest_also_when_it_was_done_between_two_looks(seen: Snapshot) -> None:
    idle = Idleness(0.0, IDLE).after(seen, 20.0)
    assert not idle.rests(20.0)
    assert not idle.rests(20.0 + REST_AFTER_SECONDS - 1)


def test_many_that_rest_are_read_no_more_often_together_than_a_few() -> None:
    assert [SHORTEST_SECONDS, SHORTEST_SECONDS, LONGEST_SECONDS] == [pause_seconds(n) for n in (1, 10, 10_000)]
    assert 300 / READS_PER_SECOND == pause_seconds(300)
