"""Errors as text for people."""

import urllib.error

import pytest

from arks.kit.errors import reason_of


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(-2, "Name or service not known"), "Name or service not known"),
        (urllib.error.URLError(OSError(111, "Connection refused")), "Connection refused"),
        (ValueError("no number"), "no number"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_the_reason_of_an_error_has_no_number_of_the_system(error: Exception, expected: str) -> None:
    assert expected == reason_of(error)
