"""Usage batches: what a shipper publishes of one namespace at a time. docs/events.md describes the message.

The types are msgspec structs because every request passes through them twice: encoding and decoding a record takes
about 1 us instead of 20 with protobuf's JSON. Field names in JSON are those of `UsageBatch` in usage.proto.
"""

from typing import Final

import msgspec

from arks.contracts.usage import UsageSource

MAX_INTEGER: Final = 2**53 - 1
"""JSON numbers are exact up to it."""


class UsageRecord(msgspec.Struct, rename="camel", omit_defaults=True):
    """A request that has ended."""

    request_id: str
    token: str
    endpoint: str
    operation: str
    source: str
    """Name of a UsageSource in protobuf's JSON, as USAGE_SOURCE_ENGINE."""
    started_at_milliseconds: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    duration_milliseconds: int = 0
    first_byte_milliseconds: int = 0
    status_code: int = 0
    response_flags: str = ""
    stream: bool = False
    replica: str = ""
    lease: str = ""
    """Empty if the request was admitted without counters."""
    reserved_prompt_tokens: int = 0
    reserved_completion_tokens: int = 0
    was_reported_started: bool = False
    """An earlier batch has this request among its `started`."""


class StartedRequest(msgspec.Struct, rename="camel", omit_defaults=True):
    """A request that was still under way when its lease was closed. If its end is never reported, it is charged its
    reservation.
    """

    request_id: str
    token: str
    endpoint: str
    operation: str
    lease: str
    started_at_milliseconds: int
    reserved_prompt_tokens: int = 0
    reserved_completion_tokens: int = 0


class ClosedLease(msgspec.Struct, rename="camel", omit_defaults=True):
    """A lease that admits no more requests, and what of it no request has used."""

    lease: str
    unused_requests: int = 0
    unused_prompt_tokens: int = 0
    unused_completion_tokens: int = 0


class UsageBatch(msgspec.Struct, rename="camel", omit_defaults=True):
    """One message. `id` is also the id of the NATS message: a batch with a known id is a repetition."""

    id: str
    """`<identity of the log>-<number of the flush>-<namespace>`."""
    gateway: str
    """Name of the gateway: what its filter sends as x-arks-gateway."""
    namespace: str
    complete_until_milliseconds: int
    """The gateway has reported every lease that ended before this time."""
    records: list[UsageRecord] = msgspec.field(default_factory=list)
    started: list[StartedRequest] = msgspec.field(default_factory=list)
    closed_leases: list[ClosedLease] = msgspec.field(default_factory=list)


SOURCES: Final = {source.message_name: source for source in UsageSource}
