from datetime import UTC, datetime

from arks.contracts.subjects import EventKind
from arks.local.cli.events import _KINDS
from arks.local.cli.times import parse_duration, parse_since, parse_until


def test_durations_have_units() -> None:
    assert [90.0, 900.0, 7200.0, 604800.0] == [
        parse_duration(text).total_seconds() for text in ("90s", "15m", "2h", "7d")
    ]


def test_a_start_is_a_duration_or_a_date() -> None:
    now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert datetime(2026, 3, 1, 11, 45, tzinfo=UTC) == parse_since("15m", now)
    assert datetime(2026, 1, 31, tzinfo=UTC) == parse_since("2026-01-31", now)
    assert datetime(2026, 3, 31, 12, 0, tzinfo=UTC) == parse_until("30d", now)
    assert datetime(2026, 12, 31, tzinfo=UTC) == parse_until("2026-12-31", now)


def test_events_can_be_listed_of_every_kind_that_has_them() -> None:
    assert set(EventKind) == set(_KINDS)
