import json
from typing import Any

import msgspec
import pytest
from google.protobuf.json_format import MessageToDict, MessageToJson, Parse
from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.usage import UsageSource
from arks.events.v1 import usage_pb2
from arks.token_quota.domain.batch import MAX_INTEGER, ClosedLease, StartedRequest, UsageBatch, UsageRecord
from arks.token_quota.domain.wire import RecordError, decode, encode

counts = st.integers(0, 2**31 - 1)
sums = st.integers(0, MAX_INTEGER)
times = st.integers(1, 2**33 * 1000)
names = st.text(min_size=1, max_size=20, alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
operations = st.sampled_from(["", "chat.completions"])

records = st.builds(
    UsageRecord,
    request_id=names,
    token=names,
    endpoint=names,
    operation=operations,
    source=st.sampled_from([source.message_name for source in UsageSource]),
    started_at_milliseconds=times,
    prompt_tokens=counts,
    completion_tokens=counts,
    duration_milliseconds=counts,
    first_byte_milliseconds=counts,
    status_code=st.integers(0, 599),
    response_flags=st.sampled_from(["", "-", "DC"]),
    stream=st.booleans(),
    replica=st.sampled_from(["", "127.0.0.1:80"]),
    lease=st.sampled_from(["", "lease0000001"]),
    reserved_prompt_tokens=counts,
    reserved_completion_tokens=counts,
    was_reported_started=st.booleans(),
)
started = st.builds(
    StartedRequest,
    request_id=names,
    token=names,
    endpoint=names,
    operation=operations,
    lease=names,
    started_at_milliseconds=times,
    reserved_prompt_tokens=counts,
    reserved_completion_tokens=counts,
)
closed = st.builds(
    ClosedLease, lease=names, unused_requests=sums, unused_prompt_tokens=sums, unused_completion_tokens=sums
)
batches = st.builds(
    UsageBatch,
    id=names,
    gateway=st.one_of(st.just(""), names),
    namespace=names,
    complete_until_milliseconds=times,
    records=st.lists(records, max_size=3),
    started=st.lists(started, max_size=3),
    closed_leases=st.lists(closed, max_size=3),
)


def batch_with(**record: Any) -> bytes:
    fields = {"requestId": "r", "token": "t", "endpoint": "e", "operation": "", "source": "USAGE_SOURCE_ENGINE"}
    batch = {"id": "b", "gateway": "g", "namespace": "n", "completeUntilMilliseconds": 1}
    return json.dumps(batch | {"records": [fields | {"startedAtMilliseconds": 1} | record]}).encode()


@given(batches)
def test_decoding_returns_what_was_encoded(batch: UsageBatch) -> None:
    assert batch == decode(encode(batch))


@given(batches)
def test_a_batch_is_json_of_the_protobuf_message(batch: UsageBatch) -> None:
    message = Parse(encode(batch), usage_pb2.UsageBatch())
    found = msgspec.json.decode(encode(batch))
    assert _without_defaults(found) == MessageToDict(message)
    assert [usage_pb2.UsageSource.Value(record.source) for record in batch.records] == [
        record.source for record in message.records
    ]


def _without_defaults(value: Any) -> Any:
    """As protobuf writes it: 64-bit numbers as strings, except that statusCode has 32 bits."""
    if isinstance(value, list):
        return [_without_defaults(item) for item in value]
    if isinstance(value, dict):
        return {
            name: field if name == "statusCode" else _without_defaults(field) for name, field in value.items() if field
        }
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(batches)
def test_a_batch_that_another_program_writes_with_protobuf_is_read(batch: UsageBatch) -> None:
    message = Parse(encode(batch), usage_pb2.UsageBatch())
    assert batch == decode(MessageToJson(message, preserving_proto_field_name=True).encode())


def test_a_single_record_of_an_older_gateway_is_a_batch_by_itself() -> None:
    single = {
        "requestId": "r1",
        "namespace": "team",
        "token": "tom",
        "endpoint": "qwen",
        "operation": "completions",
        "startedAt": "2026-01-31T10:00:00.123456+02:00",
        "promptTokens": "7",
        "source": "USAGE_SOURCE_ENGINE",
        "statusCode": 200,
        "reservedPromptTokens": "9",
        "newField": True,
    }
    batch = decode(json.dumps(single).encode())
    record = UsageRecord(
        "r1",
        "tom",
        "qwen",
        "completions",
        "USAGE_SOURCE_ENGINE",
        1769846400123,
        prompt_tokens=7,
        status_code=200,
        reserved_prompt_tokens=9,
        was_reported_started=True,
    )
    assert UsageBatch("r1", "", "team", 0, [record]) == batch


def test_unknown_fields_are_ignored() -> None:
    assert "r" == decode(batch_with(newField=1)).records[0].request_id


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b'{"id":"b"}',
        b'{"id":"","gateway":"g","namespace":"n","completeUntilMilliseconds":1}',
        b'{"id":"b","gateway":"g","namespace":"","completeUntilMilliseconds":1}',
        b'{"id":"b","gateway":"g","namespace":"n","completeUntilMilliseconds":-1}',
        b'{"requestId":"r","namespace":"n","token":"t","endpoint":"e","startedAt":"2026-01-01T00:00:00Z"}',
        b'{"requestId":"r","namespace":"n","token":"t","endpoint":"e","source":"USAGE_SOURCE_ENGINE"}',
        b'{"requestId":"r","namespace":"n","token":"t","endpoint":"e","source":"USAGE_SOURCE_ENGINE",'
        b'"startedAt":"2026-01-01T00:00:00Z","promptTokens":"-1"}',
        batch_with(requestId=""),
        batch_with(token=None),
        batch_with(endpoint="e" * 254),
        batch_with(source="USAGE_SOURCE_OTHER"),
        batch_with(source="USAGE_SOURCE_UNSPECIFIED"),
        batch_with(promptTokens=-1),
        batch_with(completionTokens=2**53),
        batch_with(statusCode=2**31),
        batch_with(startedAtMilliseconds=2**60),
        batch_with(operation="a\0b"),
        batch_with(operation="\ud800"),
        batch_with()[:-1] + b',"closedLeases":[{"lease":""}]}',
    ],
)
def test_a_payload_that_the_ledger_cannot_use_is_an_error(payload: bytes) -> None:
    with pytest.raises(RecordError):
        decode(payload)


@given(st.binary())
def test_bytes_without_meaning_are_an_error(payload: bytes) -> None:
    with pytest.raises(RecordError):
        decode(payload)
