"""Corpora of readers: inputs in files of their own, and what fuzzing makes of them."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st

CHANGES = 4
"""Most changes of one input."""


def corpus(directory: Path) -> dict[str, bytes]:
    """Return the inputs in a directory by the names of their files. Raises FileNotFoundError if there is none."""
    found = {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
    if not found:
        raise FileNotFoundError(f"{directory} has no inputs")
    return found


@st.composite
def changed(draw: st.DrawFn, inputs: Sequence[bytes]) -> bytes:
    """Return one of the inputs after a few changes: bytes removed, random, or taken from another input."""
    text = draw(st.sampled_from(inputs))
    for _ in range(draw(st.integers(0, CHANGES))):
        begin = draw(st.integers(0, len(text)))
        end = draw(st.integers(begin, min(len(text), begin + 40)))
        other = draw(st.sampled_from(inputs))
        at = draw(st.integers(0, len(other)))
        piece = draw(st.binary(max_size=8) | st.just(b"") | st.just(other[at : at + 40]))
        text = text[:begin] + piece + text[end:]
    return text
