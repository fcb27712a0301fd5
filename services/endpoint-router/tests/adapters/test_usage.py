"""Requests from usage batches, for rollouts."""

import json

import pytest

from arks.endpoint_router.adapters.usage import requests
from arks.endpoint_router.service.rollouts import Ended
from arks.kit.key import Key


def batch(**record: object) -> bytes:
    return json.dumps(
        {"namespace": "team", "records": [{"endpoint": "chat", "replica": "1.2.3.4:80", **record}]}
    ).encode()


def test_a_stream_has_times_and_a_whole_answer_has_none() -> None:
    times = {"durationMilliseconds": "1100", "firstByteMilliseconds": "100", "completionTokens": "11"}
    found = [ended for stream in (True, False) for _, ended in requests(batch(statusCode=200, stream=stream, **times))]
    assert [Ended("1.2.3.4:80", failed=False, first_token_seconds=0.1, inter_token_seconds=0.1)] == found[:1]
    assert [Ended("1.2.3.4:80", failed=False)] == found[1:]


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        ({"completionTokens": "1"}, (0.1, None)),
        ({"completionTokens": "2"}, (0.1, 1.0)),
        ({"statusCode": 206}, (None, None)),
        ({"firstByteMilliseconds": "0"}, (None, None)),
    ],
    ids=["one token", "two tokens", "another status", "no first byte"],
)
def test_a_stream_has_the_times_that_it_can_have(
    fields: dict[str, object], times: tuple[float | None, float | None]
) -> None:
    given = {"statusCode": 200, "stream": True, "durationMilliseconds": "1100", "firstByteMilliseconds": "100"}
    ((_, ended),) = requests(batch(**{**given, "completionTokens": "11", **fields}))
    assert times == (ended.first_token_seconds, ended.inter_token_seconds)


@pytest.mark.parametrize(
    ("status", "flags", "failed"),
    [(500, "-", True), (503, "UF", True), (200, "UC", True), (400, "-", False), (0, "DC", False), (200, "DC", False)],
)
def test_only_what_the_engine_did_wrong_is_an_error(status: int, flags: str, failed: bool) -> None:
    assert [(Key("team", "chat"), failed)] == [
        (key, ended.failed) for key, ended in requests(batch(statusCode=status, responseFlags=flags))
    ]


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"namespace":"team","records":[{"statusCode":"x"}]}'])
def test_what_cannot_be_read_counts_as_nothing(payload: bytes) -> None:
    assert [] == list(requests(payload))
