"""Bounds at some times."""

from datetime import UTC, datetime

import pytest

from arks.contracts.resources import ScalingSchedule
from arks.metrics.domain.scaling.schedule import Bounds, bounds_at, problem


def schedule(**fields: object) -> ScalingSchedule:
    given = {"name": "office", "start": "0 8 * * MON-FRI", "end": "0 18 * * MON-FRI", "timeZone": "Europe/Berlin"}
    return ScalingSchedule.model_validate({**given, **fields})


@pytest.mark.parametrize(
    ("now", "held"),
    [
        ("2026-03-27T07:00", True),  # Friday, 8:00 in Berlin
        ("2026-03-27T06:59", False),
        ("2026-03-27T16:59", True),
        ("2026-03-27T17:00", False),
        ("2026-03-28T12:00", False),  # Saturday
        ("2026-03-30T06:00", True),  # Monday, after the clocks changed
        ("2026-03-30T05:59", False),
    ],
)
def test_a_schedule_holds_in_its_own_time_zone(now: str, held: bool) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    expected = Bounds(3, 5, "office") if held else Bounds(1, 5)
    assert expected == bounds_at(at, 1, 5, [schedule(minReplicas=3)])


def test_of_several_schedules_the_largest_bounds_count() -> None:
    at = datetime(2026, 3, 27, 12, tzinfo=UTC)
    both = [schedule(minReplicas=3, maxReplicas=6), schedule(name="launch", minReplicas=4)]
    assert Bounds(4, 6, "office, launch") == bounds_at(at, 1, 5, both)


def test_a_maximum_of_a_schedule_lowers_the_minimum() -> None:
    at = datetime(2026, 3, 27, 12, tzinfo=UTC)
    assert Bounds(2, 2, "office") == bounds_at(at, 3, 5, [schedule(maxReplicas=2)])


def test_a_schedule_that_cannot_be_read_is_a_problem_and_does_not_hold() -> None:
    at = datetime(2026, 3, 27, 12, tzinfo=UTC)
    broken = [schedule(start="61 8 * * *", minReplicas=3), schedule(timeZone="Mars/Olympus", minReplicas=3)]
    assert Bounds(1, 5) == bounds_at(at, 1, 5, broken)
    assert ["start of schedule office", "unknown time zone"] == [
        "start of schedule office"
        if "start of" in str(problem(item))
        else str(problem(item)).split(" an ")[1].split(":")[0]
        for item in broken
    ]
