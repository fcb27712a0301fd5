import json

import pytest
from google.protobuf.json_format import MessageToDict, Parse
from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.usage import UsageSource
from arks.events.v1.usage_pb2 import UsageRecord
from arks.token_quota.domain.wire import RecordError, decode, encode

counts = st.integers(0, 2**31 - 1)
names = st.text(min_size=1, max_size=20, alphabet=st.characters(exclude_categories=["Cs"]))


def made(**fields: object) -> UsageRecord:
    milliseconds = fields.pop("started_at_milliseconds")
    record = UsageRecord(**fields)  # type: ignore[arg-type]
    record.started_at.FromMilliseconds(int(str(milliseconds)))
    return record


records = st.builds(
    made,
    request_id=names,
    namespace=names,
    token=names,
    endpoint=names,
    operation=st.sampled_from(["", "chat.completions"]),
    started_at_milliseconds=st.integers(0, 2**33 * 1000),
    duration_milliseconds=counts,
    first_byte_milliseconds=counts,
    status_code=st.integers(0, 599),
    response_flags=st.sampled_from(["", "-", "DC"]),
    prompt_tokens=counts,
    completion_tokens=counts,
    source=st.sampled_from([int(source) for source in UsageSource]),
    stream=st.booleans(),
    replica=st.sampled_from(["", "127.0.0.1:80"]),
    reserved_prompt_tokens=counts,
    reserved_completion_tokens=counts,
)


@given(records)
def test_what_is_written_is_protobufs_json(record: UsageRecord) -> None:
    assert MessageToDict(record) == json.loads(encode(record))
    assert record == Parse(encode(record), UsageRecord())


@given(records)
def test_what_is_read_is_what_was_written(record: UsageRecord) -> None:
    usage = decode(encode(record))
    assert (record.request_id, record.namespace, record.token, record.endpoint) == (
        usage.request_id,
        usage.namespace,
        usage.token,
        usage.endpoint,
    )
    assert (record.prompt_tokens, record.completion_tokens, int(record.source)) == (
        usage.prompt_tokens,
        usage.completion_tokens,
        int(usage.source),
    )
    assert (record.started_at.ToMilliseconds(), record.duration_milliseconds, record.status_code, record.stream) == (
        usage.started_at_milliseconds,
        usage.duration_milliseconds,
        usage.status_code,
        usage.stream,
    )


def test_another_programs_spelling_is_read_too() -> None:
    other = {
        "request_id": "r1",
        "namespace": "team",
        "token": "tom",
        "endpoint": "qwen",
        "source": 1,
        "started_at": "2026-01-31T10:00:00.123456+02:00",
        "prompt_tokens": 7,
        "new_field": True,
    }
    usage = decode(json.dumps(other).encode())
    assert ("r1", UsageSource.ENGINE, 7, 1769846400123) == (
        usage.request_id,
        usage.source,
        usage.prompt_tokens,
        usage.started_at_milliseconds,
    )


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b'{"requestId":"r"}',
        b'{"requestId":"r","namespace":"n","token":"t","endpoint":"e","startedAt":"2026-01-01T00:00:00Z"}',
        b'{"requestId":"r","namespace":"n","token":"t","endpoint":"e","source":"USAGE_SOURCE_ENGINE"}',
        b'{"requestId":"r","namespace":"n","token":"t","endpoint":"e","source":"USAGE_SOURCE_ENGINE",'
        b'"startedAt":"2026-01-01T00:00:00Z","promptTokens":"-1"}',
    ],
)
def test_what_the_ledger_cannot_use_is_an_error(payload: bytes) -> None:
    with pytest.raises(RecordError):
        decode(payload)


@given(st.binary())
def test_no_bytes_at_all_break_the_reader(payload: bytes) -> None:
    with pytest.raises(RecordError):
        decode(payload)
