"""Lines of gateways of a previous version: columns separated by tabs.

`request id, start (seconds since the epoch), duration ms, first byte ms, status, response flags and number of attempts
(separated by a comma), upstream, operation, stream (1/0), grant, usage`, and in the starts file `L, lease, end (ms),
requests, prompt tokens, completion tokens, names` and `S, request id, lease, prompt tokens, completion tokens,
operation, time (ms)`, with the names in one more column if the lease is `-`.
"""

import re
from typing import Final, Literal

from arks.token_quota.domain.batch import MAX_MILLISECONDS
from arks.token_quota.domain.count import parse_count
from arks.token_quota.domain.grant import MAX_NAME_LENGTH, parse_grant
from arks.token_quota.domain.lease import NO_LEASE
from arks.token_quota.domain.lines import ABSENT, EndLine, LeaseLine, LineError, StartLine, is_request_id

COLUMNS: Final = 11
FRAME: Final = ("2", ".")
"""The first and the last column of a line of the usage log, around the others. A line without both was cut, and so was
the one that it runs into: the rest of one request must not become another's.
"""
NUL: Final = "\0"
"""No text of the ledger can hold it."""
_START: Final = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?", re.ASCII).fullmatch
"""Seconds with decimals, as 1795254321.123."""


def read_end(text: str) -> EndLine:
    """Raises LineError."""
    columns = _unframed(text.split("\t"))
    if len(columns) != COLUMNS or NUL in text:
        raise LineError("number of columns")
    request_id, start, duration, first_byte, status, flags, upstream, operation, stream, grant_text, usage = columns
    grant = parse_grant(grant_text)
    if grant is None:
        raise LineError("grant")
    flags, attempts = _flags_and_attempts(flags)
    kind, *counts = _usage(usage)
    return EndLine(
        _request_id(request_id),
        _start_milliseconds(start),
        _count_or_zero(duration, "duration"),
        _count_or_zero(first_byte, "first byte"),
        _count_or_zero(status, "status"),
        flags,
        attempts,
        "" if upstream == ABSENT else upstream,
        operation,
        stream == "1",
        f"{grant.namespace}/{grant.endpoint}/{grant.token}/{grant.lease or NO_LEASE}",
        grant.prompt_tokens,
        grant.completion_tokens,
        kind,
        *counts,
    )


def read_start(text: str) -> LeaseLine | StartLine:
    """Raises LineError."""
    columns = text.split("\t")
    if columns[0] == "S" and (len(columns) == 7 or (len(columns) == 8 and columns[2] == NO_LEASE)):
        _, request_id, lease, prompt, completion, operation, at, *names = columns
        counts = _count(prompt, "prompt"), _count(completion, "completion")
        return StartLine(_request_id(request_id), lease, *counts, operation, _milliseconds(at, "start"), *names)
    if columns[0] == "L" and len(columns) == 7:
        _, id_, end, *amounts, names_text = columns
        if not 0 < len(id_) <= MAX_NAME_LENGTH or NUL in text:
            raise LineError("names of a lease")
        requests, prompt_tokens, completion_tokens = (_count(amount, "amounts of a lease") for amount in amounts)
        end_milliseconds = _milliseconds(end, "end of a lease")
        return LeaseLine(id_, end_milliseconds, requests, prompt_tokens, completion_tokens, names_text)
    raise LineError("kind of start")


def _unframed(columns: list[str]) -> list[str]:
    """Raises LineError. The oldest gateways write no frame."""
    first, last = FRAME
    if columns[0] != first:
        return columns
    if columns[-1] != last:
        raise LineError("frame")
    return columns[1:-1]


def _flags_and_attempts(column: str) -> tuple[str, int]:
    """The column ends with the number of attempts; older gateways write flags only."""
    flags, _, attempts = column.rpartition(",")
    count = parse_count(attempts) if flags else None
    return (column, 0) if count is None else (flags, count)


def _usage(column: str) -> tuple[Literal["e", "d", "-"], int, int]:
    """Raises LineError."""
    kind, *counts = column.split(",")
    if kind == "e" and len(counts) == 2:
        return "e", _count(counts[0], "usage"), _count(counts[1], "usage")
    if kind == "d" and len(counts) == 1:
        return "d", _count(counts[0], "usage"), 0
    if column == ABSENT:
        return "-", 0, 0
    raise LineError("usage")


def _request_id(text: str) -> str:
    if not is_request_id(text):
        raise LineError("request id")
    return text


def _count(text: str, column: str) -> int:
    """Raises LineError."""
    number = parse_count(text)
    if number is None:
        raise LineError(column)
    return number


def _count_or_zero(text: str, column: str) -> int:
    return 0 if text == ABSENT else _count(text, column)


def _start_milliseconds(start: str) -> int:
    """Raises LineError."""
    found = _START(start)
    if not found:
        raise LineError("start")
    milliseconds = int(found[1]) * 1000 + int((found[2] or "")[:3].ljust(3, "0"))
    if milliseconds >= MAX_MILLISECONDS:
        raise LineError("start")
    return milliseconds


def _milliseconds(text: str, column: str) -> int:
    """Raises LineError."""
    if not (text.isascii() and text.isdigit() and len(text) <= 13) or int(text) > MAX_MILLISECONDS:
        raise LineError(column)
    return int(text)
