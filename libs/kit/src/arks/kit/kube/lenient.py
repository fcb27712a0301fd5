"""Reads values of annotations, which anyone may have written. Nothing is raised; what is no value has the default."""

from datetime import UTC, datetime

_DIGITS = 18
"""Of a number that fits into 64 bits."""


def number_in(text: str) -> int:
    """A number that is not negative; 0 for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0


def time_in(text: str | None) -> datetime | None:
    """A time of Kubernetes, with up to nine decimals; None for any other text."""
    try:
        return datetime.fromisoformat(text or "").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
