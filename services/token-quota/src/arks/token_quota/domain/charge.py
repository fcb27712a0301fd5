"""What one line of Envoy's usage log costs. The columns are fixed in docs/architecture.md.

| usage column, status | source | prompt | completion |
|---|---|---|---|
| `e,p,c` | ENGINE | p | c |
| status 400 or more, or no upstream at all | NONE | 0 | 0 |
| `d,n` | DELIVERED | as reserved | n |
| no status: the client hung up before the answer began | DELIVERED | as reserved | 0 |
| anything else that was answered | RESERVATION | as reserved | as reserved |
"""

import re
from typing import Final, NamedTuple

from arks.events.v1.usage_pb2 import (
    USAGE_SOURCE_DELIVERED,
    USAGE_SOURCE_ENGINE,
    USAGE_SOURCE_NONE,
    USAGE_SOURCE_RESERVATION,
    UsageRecord,
    UsageSource,
)

COLUMNS: Final = 11
ABSENT: Final = "-"
MAX_COUNT: Final = 2**31 - 1
"""A number of tokens or milliseconds above it is garbage."""
_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}")
"""It becomes the message's id, in a header."""
_GRANT_PARTS: Final = 5
_MAX_START_SECONDS: Final = 2**33


class LineError(ValueError):
    """The line is not one of ours, or damaged. Names the column, never its content."""


class Grant(NamedTuple):
    """`<namespace>/<endpoint>/<token>/<reserved prompt tokens>/<reserved completion tokens>`."""

    namespace: str
    endpoint: str
    token: str
    prompt_tokens: int
    completion_tokens: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.endpoint}/{self.token}/{self.prompt_tokens}/{self.completion_tokens}"


def read_grant(text: str) -> Grant:
    """Raises LineError."""
    parts = text.split("/")
    if len(parts) != _GRANT_PARTS or not all(parts[:3]):
        raise LineError("grant")
    namespace, endpoint, token, prompt, completion = parts
    return Grant(namespace, endpoint, token, _count(prompt, "grant"), _count(completion, "grant"))


def charge(line: str) -> UsageRecord:
    """The usage record of one line (without its newline). Raises LineError."""
    columns = line.split("\t")
    if len(columns) != COLUMNS:
        raise LineError("number of columns")
    request_id, start, duration, first_byte, status, flags, upstream, operation, stream, grant_text, usage = columns
    if request_id == ABSENT or not _REQUEST_ID.fullmatch(request_id):
        raise LineError("request id")
    grant = read_grant(grant_text)
    status_code = _count_or_zero(status, "status")
    source, prompt, completion = _tokens(usage, status_code, upstream, grant)
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
        prompt_tokens=prompt,
        completion_tokens=completion,
        source=source,
        stream=stream == "1",
        replica="" if upstream == ABSENT else upstream,
        reserved_prompt_tokens=grant.prompt_tokens,
        reserved_completion_tokens=grant.completion_tokens,
    )
    record.started_at.FromMilliseconds(_milliseconds(start))
    return record


def _tokens(usage: str, status: int, upstream: str, grant: Grant) -> tuple[UsageSource, int, int]:
    kind, *numbers = usage.split(",")
    if kind == "e" and len(numbers) == 2:
        return USAGE_SOURCE_ENGINE, _count(numbers[0], "usage"), _count(numbers[1], "usage")
    if status >= 400 or upstream in {ABSENT, ""}:
        return USAGE_SOURCE_NONE, 0, 0
    if kind == "d" and len(numbers) == 1:
        return USAGE_SOURCE_DELIVERED, grant.prompt_tokens, _count(numbers[0], "usage")
    if usage != ABSENT:
        raise LineError("usage")
    if status == 0:
        return USAGE_SOURCE_DELIVERED, grant.prompt_tokens, 0
    return USAGE_SOURCE_RESERVATION, grant.prompt_tokens, grant.completion_tokens


def _count(text: str, column: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > MAX_COUNT:
        raise LineError(column)
    return int(text)


def _count_or_zero(text: str, column: str) -> int:
    return 0 if text == ABSENT else _count(text, column)


def _milliseconds(start: str) -> int:
    whole, dot, decimals = start.partition(".")
    if not (whole.isascii() and whole.isdigit()) or len(whole) > 10 or int(whole) > _MAX_START_SECONDS:
        raise LineError("start")
    if not dot:
        return int(whole) * 1000
    if not (decimals.isascii() and decimals.isdigit()):
        raise LineError("start")
    return int(whole) * 1000 + int(decimals[:3].ljust(3, "0"))
