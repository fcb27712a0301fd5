"""The charge of one line of the usage log. The columns are fixed in docs/architecture.md.

| usage column, status | source | prompt | completion |
|---|---|---|---|
| `e,p,c` | ENGINE | p | c |
| status 400 or more, or no upstream | NONE | 0 | 0 |
| `d,n` | DELIVERED | as reserved | n |
| no status: the client disconnected before the answer began | DELIVERED | as reserved | 0 |
| anything else that was answered | RESERVATION | as reserved | as reserved |

The lease book adds what an engine made of an answer in JSON that its client did not wait for, unless the gateway has
counted it.
"""

import re
from functools import lru_cache
from typing import Final

from arks.contracts.usage import UsageSource
from arks.token_quota.domain.batch import UsageRecord
from arks.token_quota.domain.count import parse_count
from arks.token_quota.domain.grant import Grant, parse_grant

COLUMNS: Final = 11
FRAME: Final = ("2", ".")
"""The first and the last column of a line, around the others. A line without both was cut, and so was the one that it
runs into: the rest of one request must not become another's.
"""
ABSENT: Final = "-"
NOTHING_MADE: Final = "\td,0\t"
"""In a line: the engine had made nothing when the client left. Without usage that is unknown."""
NUL: Final = "\0"
"""No text of the ledger can hold it."""
_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}").fullmatch
_START: Final = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?", re.ASCII).fullmatch
"""Seconds with decimals, as 1795254321.123."""
_MAX_START_MILLISECONDS: Final = 2**33 * 1000
_ENGINE: Final = UsageSource.ENGINE.message_name
DELIVERED: Final = UsageSource.DELIVERED.message_name
_RESERVATION: Final = UsageSource.RESERVATION.message_name
_NONE: Final = UsageSource.NONE.message_name


class LineError(ValueError):
    """The line is damaged or no line of its file. Names the column, never its content."""


def usage_record(line: str) -> tuple[str, UsageRecord]:
    """The namespace and the usage record of one line (without its newline). Raises LineError."""
    columns = _unframed(line.split("\t"))
    if len(columns) != COLUMNS or NUL in line:
        raise LineError("number of columns")
    request_id, start, duration, first_byte, status, flags, upstream, operation, stream, grant_text, usage = columns
    grant = parse_grant(grant_text)
    if grant is None:
        raise LineError("grant")
    namespace, endpoint, token, lease, reserved_prompt_tokens, reserved_completion_tokens = grant
    status_code = _count_or_zero(status, "status")
    counted = _engine_counts(usage)
    source, prompt_tokens, completion_tokens = counted or _charge(usage, status_code, upstream, grant)
    flags, retries = _flags_and_retries(flags)
    # Positional, in the order of UsageRecord: half the time of keywords.
    return namespace, UsageRecord(
        parse_request_id(request_id),
        token,
        endpoint,
        operation,
        source,
        _milliseconds(start),
        prompt_tokens,
        completion_tokens,
        _count_or_zero(duration, "duration"),
        _count_or_zero(first_byte, "first byte"),
        status_code,
        flags,
        stream == "1",
        "" if upstream == ABSENT else upstream,
        "" if lease == ABSENT else lease,
        reserved_prompt_tokens,
        reserved_completion_tokens,
        retries=retries,
    )


@lru_cache(maxsize=256)
def _flags_and_retries(column: str) -> tuple[str, int]:
    """The response flags, and how often the request was sent again: the column ends with the number of attempts. A
    gateway of a previous version writes flags only.
    """
    flags, _, attempts = column.rpartition(",")
    count = parse_count(attempts) if flags else None
    return (column, 0) if count is None else (flags, max(0, count - 1))


def _unframed(columns: list[str]) -> list[str]:
    """Raises LineError. A gateway of a previous version writes no frame."""
    first, last = FRAME
    if columns[0] != first:
        return columns
    if columns[-1] != last:
        raise LineError("frame")
    return columns[1:-1]


def parse_request_id(text: str) -> str:
    """Checks a column. Raises LineError."""
    if text == ABSENT or not _REQUEST_ID(text):
        raise LineError("request id")
    return text


def required_count(text: str, column: str) -> int:
    """Raises LineError."""
    number = parse_count(text)
    if number is None:
        raise LineError(column)
    return number


@lru_cache(maxsize=4096)
def _engine_counts(usage: str) -> tuple[str, int, int] | None:
    """What `_charge` returns, if the engine has counted. Cached, because most answers are of few lengths."""
    kind, *numbers = usage.split(",")
    if kind != "e" or len(numbers) != 2:
        return None
    return _ENGINE, required_count(numbers[0], "usage"), required_count(numbers[1], "usage")


def _charge(usage: str, status: int, upstream: str, grant: Grant) -> tuple[str, int, int]:
    """Name of the source, prompt tokens, completion tokens."""
    if status >= 400 or upstream in {ABSENT, ""}:
        return _NONE, 0, 0
    if usage.startswith("d,"):
        return DELIVERED, grant.prompt_tokens, required_count(usage[2:], "usage")
    if usage != ABSENT:
        raise LineError("usage")
    if status == 0:
        return DELIVERED, grant.prompt_tokens, 0
    return _RESERVATION, grant.prompt_tokens, grant.completion_tokens


def _count_or_zero(text: str, column: str) -> int:
    return 0 if text == ABSENT else required_count(text, column)


def _milliseconds(start: str) -> int:
    whole, _, decimals = start.partition(".")
    # As it is written: ten digits, a point, three digits. The pattern takes 1 us.
    if len(whole) == 10 and len(decimals) == 3 and (digits := whole + decimals).isdigit() and digits.isascii():
        milliseconds = int(digits)
    elif found := _START(start):
        milliseconds = int(found[1]) * 1000 + int((found[2] or "")[:3].ljust(3, "0"))
    else:
        raise LineError("start")
    if milliseconds >= _MAX_START_MILLISECONDS:
        raise LineError("start")
    return milliseconds
