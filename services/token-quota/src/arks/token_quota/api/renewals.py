"""The body of `/v1/leases`: the headers of several calls of `/v1/admit`, and of their answers.

A call is lines `<name>: <value>`, an answer its status and such lines; an empty line is between two. Both are in the
same order.
"""

from collections.abc import Sequence
from typing import Final

MAX_CALLS: Final = 64
MAX_BYTES: Final = 1024 * 1024
_BETWEEN: Final = "\n\n"


def read_calls(body: bytes) -> list[dict[str, str]] | None:
    """The headers of each call; None for a body that is none, or too long."""
    if len(body) > MAX_BYTES:
        return None
    try:
        texts = body.decode().split(_BETWEEN)
        calls = [dict(line.split(": ", 1) for line in text.split("\n")) for text in texts]
    except ValueError:  # also of the decoding
        return None
    return calls if len(calls) <= MAX_CALLS else None


def write_answers(answers: Sequence[tuple[int, Sequence[tuple[str, str]]]]) -> bytes:
    """Status and headers of each."""
    texts = ("\n".join((str(status), *(f"{name}: {value}" for name, value in headers))) for status, headers in answers)
    return _BETWEEN.join(texts).encode()
