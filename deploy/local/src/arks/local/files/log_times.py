"""Times of log lines, in the formats of the programs of Arks. Pure."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

_JSON = re.compile(r'"timestamp": ?"([^"]+)"')
"""Services."""
_ENVOY = re.compile(r"^\[(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.")
_NATS = re.compile(r"^\[\d+\] (\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)\.")
_VALKEY = re.compile(r"^\d+:\w (\d\d \w{3} \d{4} \d\d:\d\d:\d\d)\.")
_LLAMACPP = re.compile(r"^(\d+)\.(\d\d)\.(\d{3})\.\d{3} ")
"""Minutes, seconds and milliseconds since the start of the engine."""


def time_of(line: str, started_at: float | None = None) -> float | None:
    """Seconds since the epoch; None for a line without a time. `started_at`: of the engine that wrote it."""
    if found := _JSON.search(line):
        return _seconds(found[1].replace("Z", "+00:00"), None)
    if found := _ENVOY.match(line):
        return _seconds(found[1], None)
    if found := _NATS.match(line):
        return _seconds(found[1], "%Y/%m/%d %H:%M:%S", utc=True)
    if found := _VALKEY.match(line):
        return _seconds(found[1], "%d %b %Y %H:%M:%S")
    if started_at is not None and (found := _LLAMACPP.match(line)):
        return started_at + int(found[1]) * 60 + int(found[2]) + int(found[3]) / 1000
    return None


def lines_since(lines: Sequence[str], start: float, started_at: float | None = None) -> list[str]:
    """The lines from `start` on. A line without a time belongs to the one before it."""
    kept, newer = [], False
    for line in lines:
        at = time_of(line, started_at)
        newer = newer if at is None else at >= start
        if newer:
            kept.append(line)
    return kept


def _seconds(text: str, format_: str | None, *, utc: bool = False) -> float | None:
    """Without a zone the time is the machine's, unless it is UTC."""
    try:
        at = datetime.fromisoformat(text) if format_ is None else datetime.strptime(text, format_)  # noqa: DTZ007
    except ValueError:
        return None
    return (at.replace(tzinfo=UTC) if utc else at).timestamp()
