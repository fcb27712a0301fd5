"""Usage batches as other programs write them."""

import json
from typing import Any, cast

from arks.kit.bus import Bus
from arks.metrics.adapters.usage import UsageFollower, ended
from arks.metrics.domain.scaling.traffic import Ended


def test_times_of_a_stream_and_numbers_as_text() -> None:
    record = {
        "replica": "10.0.0.1:8000",
        "stream": True,
        "firstByteMilliseconds": "500",
        "durationMilliseconds": "2500",
        "promptTokens": "10",
        "completionTokens": 21,
    }
    assert Ended("10.0.0.1:8000", 10, 21, 0.5, 0.1) == ended(record)


def test_a_whole_answer_has_no_time_of_a_first_token() -> None:
    assert Ended("a:1", 0, 5) == ended({"replica": "a:1", "firstByteMilliseconds": 900, "completionTokens": 5})


def test_a_request_without_a_replica_reached_none() -> None:
    assert "" == ended({"replica": "-", "statusCode": 503}).replica


def test_a_batch_that_cannot_be_read_stops_nothing() -> None:
    taken: list[tuple[str, str, Ended]] = []
    follower = UsageFollower(cast(Bus, None), lambda *request: taken.append(request))
    batch: dict[str, Any] = {"namespace": "team", "records": [{"endpoint": "m", "replica": "a:1"}]}
    for payload in (
        b"{",
        b"[]",
        b'{"records": [{}]}',
        b'{"namespace": "n", "records": [7]}',
        json.dumps(batch).encode(),
    ):
        follower.take_message(payload)
    assert [("team", "m", Ended("a:1", 0))] == taken
