from arks.local.cli.events import parse_duration


def test_durations_have_units() -> None:
    assert [90.0, 900.0, 7200.0, 604800.0] == [
        parse_duration(text).total_seconds() for text in ("90s", "15m", "2h", "7d")
    ]
