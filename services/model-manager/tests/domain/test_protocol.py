"""What is sent to the download process comes back the same, and a token shows nowhere else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.protocol import (
    CheckRequest,
    DownloadRequest,
    Found,
    Outcome,
    Report,
    Request,
    outcome_from_json,
    outcome_to_json,
    report_from_json,
    report_to_json,
    request_from_json,
    request_to_json,
)
from arks.model_manager.domain.source_kind import SourceKind

HUB = st.builds(DownloadRequest, kind=st.sampled_from(SourceKind))
CHECK = st.builds(CheckRequest)


@settings(deadline=None)
@given(HUB | CHECK)
def test_a_request_survives_json(request: Request) -> None:
    assert request == request_from_json(request_to_json(request))


@settings(deadline=None)
@given(st.builds(Report, failure=st.none() | st.sampled_from(FailureKind)))
def test_a_report_survives_json(report: Report) -> None:
    assert report == report_from_json(report_to_json(report).encode())


@pytest.mark.parametrize("line", [b"", b"no json", b"[]", b"3", b'{"unknown": 1}', b'{"failure": "new"}'])
def test_a_line_that_is_no_report_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # whichever it is: callers catch ValueError
        report_from_json(line)


COUNT = st.integers(min_value=0, max_value=2**63 - 1)
FOUND = st.builds(Found, size_bytes=COUNT, file_count=COUNT)
DONE = st.builds(Outcome, st.builds(Report, COUNT, COUNT, done=st.just(True)), FOUND)
REPORT_OF_FAILURE = st.builds(Report, COUNT, st.none() | COUNT, failure=st.sampled_from(FailureKind), message=st.text())


@settings(deadline=None)
@given(DONE | st.builds(Outcome, REPORT_OF_FAILURE))
def test_an_outcome_survives_json(outcome: Outcome) -> None:
    assert outcome == outcome_from_json(outcome_to_json(outcome))


@settings(deadline=None)
@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_an_invalid_outcome_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # whichever it is: callers catch ValueError
        outcome_from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"done": true}',
        '{"done": 1, "found": {}}',
        '{"done": true, "failure": "network", "found": {}}',
        '{"failure": "network", "found": {}}',
        '{"done": true, "found": []}',
        '{"done": true, "found": 3}',
        '{"failure": []}',
        '{"failure": "network", "done_bytes": 1e30}',
        f'{{"failure": "network", "done_bytes": {2**63}}}',
        '{"done": true, "found": {"file": 3}}',
        '{"done": true, "found": {"size_bytes": true}}',
        '{"done": true, "found": {"file_count": -1}}',
        '{"done": true, "found": {"more": 1}}',
        '{"failure": "network", "done_bytes": 1.5}',
    ],
)
def test_a_contradictory_outcome_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # whichever it is: callers catch ValueError
        outcome_from_json(text)


def test_a_token_is_not_in_the_text_of_a_request() -> None:
    request = DownloadRequest("/m", "f", "acme/tiny", "http://hub", "main", credentials={"HF_TOKEN": "hf_secret"})
    assert "hf_secret" not in f"{request} {request!r}"
