"""What is sent to the download process comes back the same, and a token shows nowhere else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.model_manager.protocol import (
    CheckRequest,
    FailureKind,
    HubRequest,
    Report,
    Request,
    report_from_json,
    report_to_json,
    request_from_json,
    request_to_json,
)

HUB = st.builds(HubRequest, token=st.none() | st.text())
CHECK = st.builds(CheckRequest)


@settings(deadline=None)
@given(HUB | CHECK)
def test_a_request_survives_the_way(request: Request) -> None:
    assert request == request_from_json(request_to_json(request))


@settings(deadline=None)
@given(st.builds(Report, failure=st.none() | st.sampled_from(FailureKind)))
def test_a_report_survives_the_way(report: Report) -> None:
    assert report == report_from_json(report_to_json(report).encode())


@pytest.mark.parametrize("line", [b"", b"no json", b"[]", b"3", b'{"unknown": 1}', b'{"failure": "new"}'])
def test_a_line_that_is_no_report_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # whichever it is: callers catch ValueError
        report_from_json(line)


def test_a_token_is_not_in_the_text_of_a_request() -> None:
    request = HubRequest("/m", "f", "acme/tiny", "http://hub", "main", token="hf_secret")
    assert "hf_secret" not in f"{request} {request!r}"
