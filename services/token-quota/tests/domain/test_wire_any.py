"""Messages of other programs: whatever they hold, they are a batch or a RecordError."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.kit.testing.values import json_values, texts
from arks.token_quota.domain.batch import UsageBatch
from arks.token_quota.domain.wire import RecordError, decode

FIELDS = ["id", "requestId", "namespace", "records", "started", "closed", "gateway", "startedAt", "source", "operation"]
objects = st.dictionaries(st.sampled_from(FIELDS) | texts, json_values | st.lists(st.dictionaries(texts, json_values)))


@given(st.binary() | (objects | json_values).map(json.dumps).map(str.encode))
@settings(max_examples=200)
def test_any_message_is_a_batch_or_not_understood(payload: bytes) -> None:
    with contextlib.suppress(RecordError):
        assert isinstance(decode(payload), UsageBatch)


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000,
        b'{"id":' * 50_000,
        b"7",
        b"null",
        b"\xff",
        b"",
        rb'{"id": "\ud800", "gateway": "g", "namespace": "n"}',
    ],
)
def test_a_message_that_is_no_object_is_not_understood(payload: bytes) -> None:
    with pytest.raises(RecordError):
        decode(payload)
