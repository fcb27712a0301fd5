"""Usage batches on the stream, as JSON."""

from datetime import datetime
from typing import Final

import msgspec

from arks.token_quota.domain.batch import MAX_INTEGER, SOURCES, StartedRequest, UsageBatch, UsageRecord

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(UsageBatch)


class _SingleRecord(UsageRecord, rename="camel"):
    """A message of version 0.1: one record, in protobuf's JSON."""

    started_at_milliseconds: int = 0
    namespace: str = ""
    started_at: datetime | None = None


_SINGLE_DECODER: Final = msgspec.json.Decoder(_SingleRecord, strict=False)  # 64-bit numbers are strings in it


class RecordError(ValueError):
    """The payload is not a usage batch, or lacks what the ledger needs."""


def encode(batch: UsageBatch) -> bytes:
    """The batch in JSON: fields at their defaults are absent."""
    return _ENCODER.encode(batch)


def decode(payload: bytes) -> UsageBatch:
    """Raises RecordError."""
    try:
        batch = _DECODER.decode(payload)
    except msgspec.ValidationError:
        batch = _batch_of_single(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordError("not a usage batch") from error
    if not batch.id or not batch.namespace:
        raise RecordError("a usage batch without id or namespace")
    for record in batch.records:
        _check_record(record)
    for started in batch.started:
        _check_started(started)
    for lease in batch.closed_leases:
        _check_counts(lease.unused_requests, lease.unused_prompt_tokens, lease.unused_completion_tokens)
    return batch


def _batch_of_single(payload: bytes) -> UsageBatch:
    """A gateway of version 0.1 that still drains publishes these during an upgrade."""
    try:
        single = _SINGLE_DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordError("not a usage batch") from error
    if single.started_at is None:
        raise RecordError("a usage record without its time")
    started_at_milliseconds = int(single.started_at.timestamp() * 1000)
    fields = {name: getattr(single, name) for name in UsageRecord.__struct_fields__}
    record = UsageRecord(**fields | {"started_at_milliseconds": started_at_milliseconds})
    return UsageBatch(record.request_id, "", single.namespace, 0, [record])


def _check_record(record: UsageRecord) -> None:
    if not (record.request_id and record.token and record.endpoint):
        raise RecordError("a usage record without id, token or endpoint")
    if record.source not in SOURCES:
        raise RecordError("a usage record without a source")
    _check_counts(record.prompt_tokens, record.completion_tokens, record.started_at_milliseconds)
    _check_counts(record.reserved_prompt_tokens, record.reserved_completion_tokens, record.duration_milliseconds)
    _check_counts(record.first_byte_milliseconds, record.status_code)


def _check_started(started: StartedRequest) -> None:
    if not (started.request_id and started.token and started.endpoint):
        raise RecordError("a started request without id, token or endpoint")
    reserved = (started.reserved_prompt_tokens, started.reserved_completion_tokens)
    _check_counts(started.started_at_milliseconds, *reserved)


def _check_counts(*counts: int) -> None:
    if min(counts) < 0 or max(counts) > MAX_INTEGER:
        raise RecordError("a count is out of range")
