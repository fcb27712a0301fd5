"""Usage batches on the stream: JSON, written and read by msgspec (1 us a record; protobuf's own JSON code takes 20).

A valid batch in another spelling of protobuf's JSON (of another program: numbers as strings, names with underscores)
is read by protobuf. So is a single record, the message of gateways before batches.
"""

import json
from typing import Any, Final

import msgspec
from google.protobuf.json_format import MessageToDict, Parse, ParseError

from arks.events.v1 import usage_pb2
from arks.token_quota.domain.batch import SOURCES, UsageBatch

_BATCHES: Final = msgspec.json.Decoder(UsageBatch)
_NUL: Final = b"\\u0000"
"""PostgreSQL stores no text with it."""

encode = msgspec.json.Encoder().encode


class RecordError(ValueError):
    """The payload is not a usage batch, or lacks what the ledger needs."""


def decode(payload: bytes) -> UsageBatch:
    """The batch in a message; a single record is a batch whose id is the request id. Raises RecordError."""
    if _NUL in payload:
        raise RecordError("text with a NUL character")
    try:
        batch = _BATCHES.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        batch = _decode_any(payload)
    if not all(record.source in SOURCES for record in batch.records):
        raise RecordError("a record without a known source")
    return batch


def _decode_any(payload: bytes) -> UsageBatch:
    try:
        if "id" not in json.loads(payload):
            return _decode_single(payload)
        return _convert(MessageToDict(Parse(payload, usage_pb2.UsageBatch(), ignore_unknown_fields=True)))
    except (ParseError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError("not a usage batch, or without ids, names, source or time") from error


def _decode_single(payload: bytes) -> UsageBatch:
    """The ledger of a previous version may hold the record, so it is marked as one to look up. Raises ParseError,
    ValueError, KeyError.
    """
    message = Parse(payload, usage_pb2.UsageRecord(), ignore_unknown_fields=True)
    if not message.HasField("started_at"):
        raise ValueError("a record without its time")
    fields: dict[str, Any] = MessageToDict(message)
    fields |= {"startedAtMilliseconds": message.started_at.ToMilliseconds(), "wasReportedStarted": True}
    return _convert({"id": fields["requestId"], "namespace": fields["namespace"], "records": [fields]})


def _convert(fields: dict[str, Any]) -> UsageBatch:
    """Adds what protobuf leaves out although it has no default here. Raises ValueError."""
    batch = {"gateway": "", "completeUntilMilliseconds": 0} | fields
    batch["records"] = [{"operation": ""} | record for record in fields.get("records", [])]
    batch["started"] = [{"operation": ""} | request for request in fields.get("started", [])]
    return msgspec.convert(batch, UsageBatch, strict=False)
