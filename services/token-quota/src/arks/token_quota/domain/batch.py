"""Usage batches: what a shipper publishes of one namespace at a time. docs/events.md describes the message.

The types are msgspec structs because every request passes through them twice: encoding and decoding a record takes
about 1 us instead of 20 with protobuf's JSON. Field names in JSON are those of `UsageBatch` in usage.proto.
"""

from typing import Annotated, Final

import msgspec

from arks.contracts.usage import UsageSource

MAX_INTEGER: Final = 2**53 - 1
"""JSON numbers are exact up to it."""
MAX_MILLISECONDS: Final = 2**33 * 1000
"""The year 2242."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_MILLISECONDS)]
"""Since 1970-01-01 UTC."""
StatusCode = Annotated[int, msgspec.Meta(ge=0, le=999)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
"""Decoding checks these bounds."""


class UsageRecord(msgspec.Struct, rename="camel", omit_defaults=True):
    """A request that has ended."""

    request_id: Name
    token: Name
    endpoint: Name
    operation: str
    source: str
    """Name of a UsageSource in protobuf's JSON, as USAGE_SOURCE_ENGINE."""
    started_at_milliseconds: Milliseconds
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    duration_milliseconds: Count = 0
    first_byte_milliseconds: Count = 0
    status_code: StatusCode = 0
    response_flags: str = ""
    stream: bool = False
    replica: str = ""
    lease: str = ""
    """Empty if the request was admitted without counters."""
    reserved_prompt_tokens: Count = 0
    reserved_completion_tokens: Count = 0
    was_reported_started: bool = False
    """The lease was closed before the request ended: an earlier batch can have it among its `started`."""
    retries: Count = 0
    """How often it was sent again, to the same replica or another one."""


class StartedRequest(msgspec.Struct, rename="camel", omit_defaults=True):
    """A request that was still in flight when its lease was closed, or a second after its start if it has no lease. If
    its end is never reported, it is charged its reservation.
    """

    request_id: Name
    token: Name
    endpoint: Name
    operation: str
    lease: Name
    """`-` if the request was admitted without counters."""
    started_at_milliseconds: Milliseconds
    reserved_prompt_tokens: Count = 0
    reserved_completion_tokens: Count = 0


class ClosedLease(msgspec.Struct, rename="camel", omit_defaults=True):
    """A lease that admits no more requests, and what of it no request has used."""

    lease: Name
    unused_requests: Count = 0
    unused_prompt_tokens: Count = 0
    unused_completion_tokens: Count = 0


class UsageBatch(msgspec.Struct, rename="camel", omit_defaults=True):
    """One message. `id` is also the id of the NATS message: a batch with a known id is a repetition."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    """`<identity of the shipper's start>-<number of the flush>-<namespace>.<part>`."""
    gateway: str
    """Name of the gateway: what its filter sends as x-arks-gateway."""
    namespace: Name
    complete_until_milliseconds: Milliseconds
    """The gateway has reported every lease that ended before this time."""
    records: list[UsageRecord] = msgspec.field(default_factory=list)
    started: list[StartedRequest] = msgspec.field(default_factory=list)
    closed_leases: list[ClosedLease] = msgspec.field(default_factory=list)


SOURCES: Final = {source.message_name: source for source in UsageSource}
