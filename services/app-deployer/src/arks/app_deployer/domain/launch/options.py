"""Values of options among the words of an engine's command. Pure."""

from collections.abc import Sequence
from itertools import pairwise

_MOST_DIGITS = 18
"""A longer one is no number of anything; int() refuses thousands of digits."""


def value_of(words: Sequence[str], options: Sequence[str]) -> str | None:
    """Return the last value of `--option x` or `--option=x`, of options that mean the same."""
    found = _values(words, options)
    return found[-1] if found else None


def number_of(words: Sequence[str], options: Sequence[str]) -> int:
    """Return that value; 0 without one, or if it is no plain number (`auto`, `32k`)."""
    return _number(value_of(words, options) or "")


def largest_of(words: Sequence[str], options: Sequence[str]) -> int:
    """Return the largest value, of options with different meanings; 0 without a plain number."""
    return max(map(_number, _values(words, options)), default=0)


def _values(words: Sequence[str], options: Sequence[str]) -> list[str]:
    found = [after for word, after in pairwise(words) if word in options]
    return found + [word.partition("=")[2] for word in words if word.partition("=")[0] in options and "=" in word]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else 0
