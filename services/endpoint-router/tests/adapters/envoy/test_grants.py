"""What the gateway reads in a grant, and what a request reserves."""

import pytest

from arks.endpoint_router.testing.leases import GRANT, numbers, run


@pytest.mark.parametrize(
    ("operation", "fields", "size", "expected"),
    [
        ("chat.completions", {}, 0, (1, 512, 1)),
        ("chat.completions", {}, 5, (2, 512, 1)),
        ("completions", {"answers": 3}, 4, (1, 1536, 3)),
        ("completions", {"answers": 3, "max_tokens": 7}, 8, (2, 21, 21)),
        ("completions", {"max_tokens": 0}, 9, (3, 0, 0)),
        ("embeddings", {"max_tokens": 7}, 400, (100, 0, 0)),
    ],
)
def test_a_request_reserves_what_token_quota_would_reserve(
    operation: str, fields: dict[str, int], size: int, expected: tuple[int, ...]
) -> None:
    given = [fields.get(name) for name in ("max_tokens", "answers")]
    assert expected == numbers(run("estimate", operation.encode(), size, *given, 512))


def test_without_a_default_the_completion_of_a_request_is_unknown() -> None:
    assert (1, None, 2) == numbers(run("estimate", b"completions", 4, None, 2, None))


@pytest.mark.parametrize(
    "text", [b"", b"1,2,3,4", b"1,2,3,4,5,6", b"1,2,3,4,x", b"-1,2,3,4,5", b"1, 2,3,4,5", b"9" * 60]
)
def test_a_lease_that_is_not_understood_is_none(text: bytes) -> None:
    assert [] == run("parse_terms", text)


@pytest.mark.parametrize(
    "text",
    [b"a/b/c/1/1", b"a/b/c/d/1/1/1", b"a/b/c/d/x/1", b"a/b//d/1/1", b"a/b/c\n/d/1/1", b"a/b/c/D/1/1", b"a/b/c/d/1/-1"],
)
def test_a_grant_that_is_not_understood_is_none(text: bytes) -> None:
    assert [] == run("parse_grant", text)


def test_a_lease_is_valid_for_a_minute_at_most() -> None:
    assert (1, 2, 3, 60_000, 512) == numbers(run("parse_terms", b"1,2,3,70000,512"))


def test_a_grant_has_subject_lease_and_reservation() -> None:
    assert [b"default/m/alice", b"lease0000001", b"10", b"20"] == run("parse_grant", GRANT)
