"""Lines of the two files that a gateway's filter writes: JSON arrays, whose members docs/architecture/leases.md
fixes. Decoding checks their bounds.
"""

import re
from typing import Annotated, Final, Literal

import msgspec

from arks.token_quota.domain.batch import Milliseconds, Name, StatusCode
from arks.token_quota.domain.count import MAX_COUNT

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
is_request_id: Final = re.compile(r"[!-~]{1,128}").fullmatch
RequestId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
"""Of printable ASCII characters without a space, which `is_request_id` checks."""

ABSENT: Final = "-"


class LineError(ValueError):
    """The line is damaged or no line of its file. Names the column, never its content."""


class EndLine(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag="E"):
    """A request that has ended: a line of the usage log."""

    request_id: RequestId
    started_at_milliseconds: Milliseconds
    duration_milliseconds: Count
    """0 if it is unknown, as the next."""
    first_byte_milliseconds: Count
    status: StatusCode
    """0: there was no answer."""
    flags: str
    attempts: Count
    """How often it was sent to a replica; 0: unknown."""
    upstream: str
    """Address of the replica; empty if there was none."""
    operation: str
    stream: bool
    grant: str
    """`<namespace>/<endpoint>/<token>/<lease>`"""
    reserved_prompt_tokens: Count
    reserved_completion_tokens: Count
    usage: Literal["e", "d", "-"]
    """`e`: prompt and completion tokens follow, as the engine counted them. `d`: the number of delivered events
    follows, because the answer ended early. `-`: nothing is known.
    """
    first_count: Count = 0
    second_count: Count = 0


class LeaseLine(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag="L"):
    """A lease that a worker got: a line of the starts file."""

    id: Name
    end_milliseconds: Milliseconds
    requests: Count
    prompt_tokens: Count
    completion_tokens: Count
    names: str
    """`<namespace>/<endpoint>/<token>`"""


class StartLine(msgspec.Struct, array_like=True, forbid_unknown_fields=True, tag="S"):
    """A request that was admitted: a line of the starts file."""

    request_id: RequestId
    lease: str
    prompt_tokens: Count
    """Reserved, as the next."""
    completion_tokens: Count
    operation: str
    at_milliseconds: Milliseconds
    names: str = ""
    """Those that its lease would have, for a request without one."""
