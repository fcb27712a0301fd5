"""The charge of one line of the usage log.

| usage, status | source | prompt | completion |
|---|---|---|---|
| `e`, p, c | ENGINE | p | c |
| status 400 or more, or no upstream | NONE | 0 | 0 |
| `d`, n | DELIVERED | as reserved | n |
| no status: the client disconnected before the answer began | DELIVERED | as reserved | 0 |
| anything else that was answered | RESERVATION | as reserved | as reserved |

The lease book adds what an engine made of an answer in JSON that its client did not wait for, unless the gateway has
counted it.
"""

from typing import Final

from arks.contracts.usage import UsageSource
from arks.token_quota.domain.batch import UsageRecord
from arks.token_quota.domain.grant import parse_names
from arks.token_quota.domain.lines import ABSENT, EndLine, LineError

_ENGINE: Final = UsageSource.ENGINE.message_name
DELIVERED: Final = UsageSource.DELIVERED.message_name
_RESERVATION: Final = UsageSource.RESERVATION.message_name
_NONE: Final = UsageSource.NONE.message_name


def usage_record(line: EndLine) -> tuple[str, UsageRecord]:
    """The namespace and the usage record of one line. Raises LineError."""
    names = parse_names(line.grant)
    if names is None:
        raise LineError("grant")
    if line.request_id == ABSENT:
        raise LineError("request id")
    namespace, endpoint, token, lease = names
    source, prompt_tokens, completion_tokens = _charge(line)
    # Positional, in the order of UsageRecord: half the time of keywords.
    return namespace, UsageRecord(
        line.request_id,
        token,
        endpoint,
        line.operation,
        source,
        line.started_at_milliseconds,
        prompt_tokens,
        completion_tokens,
        line.duration_milliseconds,
        line.first_byte_milliseconds,
        line.status,
        line.flags,
        line.stream,
        line.upstream,
        "" if lease == ABSENT else lease,
        line.reserved_prompt_tokens,
        line.reserved_completion_tokens,
        False,
        line.attempts - 1 if line.attempts else 0,
    )


def _charge(line: EndLine) -> tuple[str, int, int]:
    """Name of the source, prompt tokens, completion tokens."""
    if line.usage == "e":
        return _ENGINE, line.first_count, line.second_count
    if line.status >= 400 or not line.upstream:
        return _NONE, 0, 0
    if line.usage == "d":
        return DELIVERED, line.reserved_prompt_tokens, line.first_count
    if line.status == 0:
        return DELIVERED, line.reserved_prompt_tokens, 0
    return _RESERVATION, line.reserved_prompt_tokens, line.reserved_completion_tokens
