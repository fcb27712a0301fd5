"""Times and durations on the command line."""

from datetime import UTC, datetime, timedelta

from arks.local.cli.failure import Exit, fail

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """`90s`, `15m`, `2h`, `7d`. Raises Failure."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit() or len(number) > 6:
        fail(f"{text!r} is not a duration", "write 90s, 15m, 2h or 7d", Exit.USAGE)
    return timedelta(**{_UNITS[unit]: int(number)})


def parse_since(text: str, now: datetime) -> datetime:
    """A duration before now, or a date or time in UTC as 2026-01-31. Raises Failure."""
    if text[:1].isdigit() and text[-1:] in _UNITS and "-" not in text:
        return now - parse_duration(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is neither a duration nor a date", "write 90s, 15m, 2h, 7d, or 2026-01-31", Exit.USAGE)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def parse_until(text: str, now: datetime) -> datetime:
    """A duration from now, or a date or time in UTC as 2026-01-31. Raises Failure."""
    return now + (now - parse_since(text, now)) if "-" not in text else parse_since(text, now)
