"""Counts that arrive as text: headers of an admission, columns of the usage log."""

from functools import lru_cache
from typing import Final

MAX_COUNT: Final = 2**31 - 1
"""The largest number of tokens, bytes or milliseconds. Larger numbers are rejected as invalid."""
_MAX_DIGITS: Final = len(str(MAX_COUNT))


@lru_cache(maxsize=16_384)
def parse_count(text: str) -> int | None:
    """The number, or None unless `text` is 0 to MAX_COUNT in ASCII digits. Cached, because small counts repeat."""
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS:
        return None
    number = int(text)
    return number if number <= MAX_COUNT else None
