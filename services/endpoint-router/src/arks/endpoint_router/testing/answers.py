"""Usage as engines report it, and answers in pieces, for tests of the filter's meter."""

from typing import Any

from hypothesis import strategies as st

SAMPLE_USAGE: dict[str, Any] = {
    "prompt_tokens_details": {"cached_tokens": 4, "prompt_tokens": 1},
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "completion_tokens_details": {"reasoning_tokens": 2, "completion_tokens": 99},
    "total_tokens": 15,
}


def cuts(text: bytes) -> st.SearchStrategy[list[bytes]]:
    """Return the text in pieces, split at any position."""
    positions = st.lists(st.integers(0, len(text)), max_size=12).map(sorted)
    return positions.map(lambda at: [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)])
