"""Which bounds hold at a moment. A schedule holds if it began more recently than it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from arks.contracts.resources import ScalingSchedule

_HORIZON_DAYS = 400
"""A cron expression without a match within this time back does not hold."""


@dataclass(frozen=True, slots=True)
class Bounds:
    minimum: int
    maximum: int
    because: str = ""
    """Names of the schedules that hold."""


def problem(schedule: ScalingSchedule) -> str | None:
    """Why the schedule cannot be read; None if it can."""
    for name, expression in (("start", schedule.start), ("end", schedule.end)):
        try:
            CronSim(expression, datetime(2000, 1, 1))  # noqa: DTZ001  # only read
        except CronSimError as error:
            return f"{name} of schedule {schedule.name} is no cron expression: {error}"
    try:
        ZoneInfo(schedule.time_zone)
    except (KeyError, ValueError, OSError):
        return f"schedule {schedule.name} has an unknown time zone: {schedule.time_zone}"
    return None


def bounds_at(now: datetime, minimum: int, maximum: int, schedules: Sequence[ScalingSchedule]) -> Bounds:
    """The bounds at `now`. Schedules that cannot be read do not hold; of several, the largest bounds count."""
    holding = [schedule for schedule in schedules if problem(schedule) is None and holds(schedule, now)]
    minimums = [schedule.min_replicas for schedule in holding if schedule.min_replicas is not None]
    maximums = [schedule.max_replicas for schedule in holding if schedule.max_replicas is not None]
    lowest = max(minimums, default=minimum)
    highest = max(maximums, default=maximum)
    return Bounds(min(lowest, highest), highest, ", ".join(schedule.name for schedule in holding))


def holds(schedule: ScalingSchedule, now: datetime) -> bool:
    started, ended = _latest(schedule.start, schedule, now), _latest(schedule.end, schedule, now)
    return started is not None and (ended is None or started > ended)


def _latest(expression: str, schedule: ScalingSchedule, now: datetime) -> datetime | None:
    """The last time at or before `now`, to the minute, in the zone of the schedule."""
    after = now.astimezone(ZoneInfo(schedule.time_zone)) + timedelta(minutes=1)
    found = next(CronSim(expression, after.replace(second=0, microsecond=0), reverse=True), None)
    return found if found is not None and now - found < timedelta(days=_HORIZON_DAYS) else None
