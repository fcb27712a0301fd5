"""The filter's reader against Python's json over many random bodies. ARKS_BODIES sets how many (nightly: a million)."""

import json
import os

from arks.endpoint_router.testing.filter import Bodies, expected, read

COUNT = int(os.environ.get("ARKS_BODIES", "10000"))
SEED = 289


def test_every_valid_body_is_read_as_a_json_parser_reads_it() -> None:
    bodies = Bodies(SEED)
    for _ in range(COUNT // 2):
        body = bodies.body()
        document, request = json.loads(body), read(body)
        assert request is not None, body
        rewritten = request.pop("body", None)
        assert expected(document) == request, body
        options = document.get("stream_options") or {}
        assert (rewritten is not None) == (request["stream"] and options.get("include_usage") is not True), body
        if rewritten is not None:
            assert {**document, "stream_options": {**options, "include_usage": True}} == json.loads(rewritten), body


def test_no_damaged_body_is_read_otherwise_than_a_json_parser_reads_it() -> None:
    bodies, accepted, valid = Bodies(SEED + 1), 0, 0
    for _ in range(COUNT // 2):
        body = bodies.damaged()
        request = read(body)
        if request is None:
            continue
        accepted += 1
        try:
            document = json.loads(body)
        except ValueError:
            continue  # the engine rejects it
        valid += 1
        request.pop("body", None)
        assert expected(document) == request, body
    assert min(accepted, valid) > COUNT // 20  # else the comparison is empty
