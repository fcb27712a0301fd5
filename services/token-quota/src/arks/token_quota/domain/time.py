"""Times in the units of limits and counters: UTC minutes and days since 1970-01-01, and the periods of budgets."""

from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

from arks.contracts.resources import QuotaPeriod

MINUTE_SECONDS: Final = 60
DAY_SECONDS: Final = 86_400
DAY_MINUTES: Final = 1440
MINUTE_MILLISECONDS: Final = MINUTE_SECONDS * 1000
DAY_MILLISECONDS: Final = DAY_SECONDS * 1000


class Moment(NamedTuple):
    """A point in time, with the minute and the day that it lies in. A named tuple: admission makes it per request."""

    milliseconds: int

    @classmethod
    def of(cls, time: datetime) -> Self:
        return cls(int(time.timestamp() * 1000))

    @property
    def seconds(self) -> float:
        return self.milliseconds / 1000

    @property
    def minute(self) -> int:
        return self.milliseconds // MINUTE_MILLISECONDS

    @property
    def day(self) -> int:
        return self.milliseconds // DAY_MILLISECONDS


def seconds_to_minute_end(now_seconds: float) -> int:
    return MINUTE_SECONDS - int(now_seconds) % MINUTE_SECONDS


def seconds_to_day_end(now_seconds: float) -> int:
    return DAY_SECONDS - int(now_seconds) % DAY_SECONDS


def period_start_day(period: QuotaPeriod, day: int) -> int:
    """First day (days since 1970-01-01) of the period that contains `day`; 0 for a lifetime."""
    if period is QuotaPeriod.DAY:
        return day
    if period is QuotaPeriod.MONTH:
        return day - datetime.fromtimestamp(day * DAY_SECONDS, UTC).day + 1
    return 0


def period_end_seconds(period: QuotaPeriod, now_seconds: float) -> int | None:
    """End (seconds since 1970-01-01) of the period that contains `now_seconds`; None for a lifetime."""
    if period is QuotaPeriod.LIFETIME:
        return None
    day = int(now_seconds) // DAY_SECONDS
    if period is QuotaPeriod.DAY:
        return (day + 1) * DAY_SECONDS
    today = datetime.fromtimestamp(day * DAY_SECONDS, UTC)
    first = today.replace(year=today.year + today.month // 12, month=today.month % 12 + 1, day=1)
    return int(first.timestamp())
