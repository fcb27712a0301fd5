"""Numbers among the words of a command line."""

from collections.abc import Sequence
from itertools import pairwise


def number_of(words: Sequence[str], option: str) -> int:
    """Return the largest value of `--option 2` or `--option=2`; 0 without one."""
    texts = [after for word, after in pairwise(words) if word == option]
    texts += [word.removeprefix(f"{option}=") for word in words if word.startswith(f"{option}=")]
    return max((int(text) for text in texts if text.isascii() and text.isdigit()), default=0)
