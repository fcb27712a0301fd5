"""The charge of one line of Envoy's usage log. The columns are fixed in docs/architecture.md.

| usage column, status | source | prompt | completion |
|---|---|---|---|
| `e,p,c` | ENGINE | p | c |
| status 400 or more, or no upstream | NONE | 0 | 0 |
| `d,n` | DELIVERED | as reserved | n |
| no status: the client disconnected before the answer began | DELIVERED | as reserved | 0 |
| anything else that was answered | RESERVATION | as reserved | as reserved |
"""

import re
from typing import Final, NamedTuple

from arks.contracts.usage import UsageSource
from arks.events.v1.usage_pb2 import UsageRecord
from arks.token_quota.domain.count import parse_count
from arks.token_quota.domain.grant import Grant, parse_grant

COLUMNS: Final = 11
ABSENT: Final = "-"
_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}")
"""The request id becomes the id of a NATS message, in a header."""
_MAX_START_SECONDS: Final = 2**33


class LineError(ValueError):
    """The line is damaged or no line of the usage log. Names the column, never its content."""


class Charge(NamedTuple):
    source: UsageSource
    prompt_tokens: int
    completion_tokens: int


def usage_record(line: str) -> UsageRecord:
    """The usage record of one line (without its newline). Raises LineError."""
    columns = line.split("\t")
    if len(columns) != COLUMNS:
        raise LineError("number of columns")
    request_id, start, duration, first_byte, status, flags, upstream, operation, stream, grant_text, usage = columns
    if request_id == ABSENT or not _REQUEST_ID.fullmatch(request_id):
        raise LineError("request id")
    grant = parse_grant(grant_text)
    if grant is None:
        raise LineError("grant")
    status_code = _count_or_zero(status, "status")
    charge = _charge(usage, status_code, upstream, grant)
    record = UsageRecord(
        request_id=request_id,
        namespace=grant.namespace,
        token=grant.token,
        endpoint=grant.endpoint,
        operation=operation,
        duration_milliseconds=_count_or_zero(duration, "duration"),
        first_byte_milliseconds=_count_or_zero(first_byte, "first byte"),
        status_code=status_code,
        response_flags=flags,
        prompt_tokens=charge.prompt_tokens,
        completion_tokens=charge.completion_tokens,
        source=charge.source.message_name,
        stream=stream == "1",
        replica="" if upstream == ABSENT else upstream,
        reserved_prompt_tokens=grant.prompt_tokens,
        reserved_completion_tokens=grant.completion_tokens,
    )
    record.started_at.FromMilliseconds(_milliseconds(start))
    return record


def _charge(usage: str, status: int, upstream: str, grant: Grant) -> Charge:
    kind, *numbers = usage.split(",")
    if kind == "e" and len(numbers) == 2:
        return Charge(UsageSource.ENGINE, _count(numbers[0], "usage"), _count(numbers[1], "usage"))
    if status >= 400 or upstream in {ABSENT, ""}:
        return Charge(UsageSource.NONE, 0, 0)
    if kind == "d" and len(numbers) == 1:
        return Charge(UsageSource.DELIVERED, grant.prompt_tokens, _count(numbers[0], "usage"))
    if usage != ABSENT:
        raise LineError("usage")
    if status == 0:
        return Charge(UsageSource.DELIVERED, grant.prompt_tokens, 0)
    return Charge(UsageSource.RESERVATION, grant.prompt_tokens, grant.completion_tokens)


def _count(text: str, column: str) -> int:
    number = parse_count(text)
    if number is None:
        raise LineError(column)
    return number


def _count_or_zero(text: str, column: str) -> int:
    return 0 if text == ABSENT else _count(text, column)


def _milliseconds(start: str) -> int:
    """Of seconds with decimals, as 1795254321.123."""
    whole, dot, decimals = start.partition(".")
    if not (whole.isascii() and whole.isdigit()) or len(whole) > 10 or int(whole) > _MAX_START_SECONDS:
        raise LineError("start")
    if not dot:
        return int(whole) * 1000
    if not (decimals.isascii() and decimals.isdigit()):
        raise LineError("start")
    return int(whole) * 1000 + int(decimals[:3].ljust(3, "0"))
