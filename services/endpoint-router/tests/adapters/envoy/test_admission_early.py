"""Faults of a body before its end: the filter finds none that the whole body has not, wherever its parts are cut."""

import gzip
import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arks.endpoint_router.testing.filter import Bodies, early_fault, read, refusal

BODIES = Bodies(12)
VALID = [BODIES.body() for _ in range(300)]
DAMAGED = [BODIES.damaged() for _ in range(1500)]
LATER = [b"", b"}", b'"}', b'"', b']}}"}', b'\\"}', b'":1}', b" "]


def parts_of(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


def members(number: int) -> bytes:
    return json.dumps({"model": "m", **{f"k{each}": each for each in range(number - 1)}}).encode()


def nested(depth: int) -> bytes:
    return b'{"model":"m","x":' + b"[" * depth + b"]" * depth + b"}"


@example(members(1000), [7])
@example(nested(200), [30])
@example(b' {"model":"m","x":"\\\\"} \n', [21])
@given(st.sampled_from(VALID), st.lists(st.integers(0, 10_000), max_size=5))
def test_a_valid_body_has_no_early_fault(body: bytes, cuts: list[int]) -> None:
    assert read(body) is not None
    assert early_fault(*parts_of(body, cuts)) is None


@example(members(1001), [7])
@example(nested(201), [30])
@given(st.sampled_from(DAMAGED), st.lists(st.integers(0, 10_000), max_size=5))
def test_a_body_with_an_early_fault_is_rejected_whatever_follows(body: bytes, cuts: list[int]) -> None:
    if (fault := early_fault(*parts_of(body, cuts))) is not None:
        assert "invalid_json" == fault["code"]
        for later in LATER:
            assert read(body + later) is None
            assert refusal(body + later)


@pytest.mark.parametrize(
    "start",
    [
        members(2000)[:-1],
        nested(201)[:300],
        b"x",
        b'{"a":\'',
        b'{"a":[}',
        b'{"a":"\0',
        b"{}{",
        b"{}x",
        gzip.compress(b"{}", mtime=0),
    ],
)
def test_what_no_further_part_can_make_valid_is_a_fault_at_once(start: bytes) -> None:
    assert early_fault(start) is not None
    assert early_fault(*[bytes([each]) for each in start]) is not None
