"""Ages, sizes and numbers for humans."""

from datetime import date, datetime, timedelta
from typing import TypeVar

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY


Day = TypeVar("Day", bound=date)


def next_month(day: Day) -> Day:
    """The first day of the month after that of a date or a time; the hour stays."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def duration(seconds: float) -> str:
    """As kubectl: 45s, 5m30s, 90m, 5h10m, 36h, 3d4h, 12d, 2y3d."""
    seconds = max(0, int(seconds))
    minutes, hours, days = seconds // MINUTE, seconds // HOUR, seconds // DAY
    steps = (
        (2 * MINUTE, f"{seconds}s"),
        (10 * MINUTE, _two_units(minutes, "m", seconds % MINUTE, "s")),
        (3 * HOUR, f"{minutes}m"),
        (8 * HOUR, _two_units(hours, "h", minutes % 60, "m")),
        (2 * DAY, f"{hours}h"),
        (8 * DAY, _two_units(days, "d", hours % 24, "h")),
        (2 * YEAR, f"{days}d"),
        (8 * YEAR, _two_units(days // 365, "y", days % 365, "d")),
    )
    return next((text for below, text in steps if seconds < below), f"{days // 365}y")


def _two_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def age(since: datetime | None, now: datetime) -> str:
    return "<unknown>" if since is None else duration((now - since).total_seconds())


def number(value: float | None, digits: int = 0) -> str:
    """Digits with thousands separators; `-` for None, which is not the same as 0."""
    return "-" if value is None else f"{value:,.{digits}f}"


def percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * ratio:.0f}%"


def compact(value: int) -> str:
    """A count for a table: 999, 20k, 812.4k, 1M, 1.5G; at most one digit behind the point, which is cut off."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            tenths = value * 10 // size
            return f"{tenths // 10}{unit}" if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10}{unit}"
    return str(value)
