"""Bytes of text a token, as the native filter measures them to estimate prompts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.endpoint_router.testing.native import call

MEASURED = 512
"""Bytes of the shortest prompt that is measured."""
BYTES = st.integers(0, 10_000_000)
MEASUREMENTS = st.lists(st.tuples(BYTES, st.integers(0, 10_000_000)), max_size=50)


class Ratio:
    def __init__(self, *measurements: tuple[int, int]) -> None:
        """`measurements`: bytes of text, and the tokens that an engine has counted."""
        (self._number,) = call("ratio_new")
        for bytes_, tokens in measurements:
            self.measure(bytes_, tokens)

    def measure(self, bytes_: int, tokens: int) -> None:
        call("ratio_measure", self._number, b"%d" % bytes_, b"%d" % tokens)

    def tokens(self, bytes_: int, media: int = 0) -> int:
        (tokens,) = call("ratio_tokens", self._number, b"%d" % bytes_, b"%d" % media)
        return int(tokens or 0)


def test_before_an_answer_a_token_is_four_bytes() -> None:
    ratio = Ratio()
    assert [1, 1, 2, 1000] == [ratio.tokens(size) for size in (0, 4, 5, 4000)]


@given(MEASUREMENTS, BYTES)
def test_whatever_engines_count_a_token_has_one_to_eight_bytes(measurements: list[tuple[int, int]], size: int) -> None:
    assert max(1, size // 8) <= Ratio(*measurements).tokens(size) <= max(1, size)


@given(MEASUREMENTS, st.integers(MEASURED, 1_000_000), st.floats(1, 8), st.lists(st.integers(1, 1_000_000)))
def test_after_its_first_answer_text_of_one_kind_is_reserved_whole(
    before: list[tuple[int, int]], first: int, bytes_a_token: float, sizes: list[int]
) -> None:
    ratio = Ratio(*before, (first, math.ceil(first / bytes_a_token)))
    for size in sizes:
        tokens = math.floor(size / bytes_a_token)
        assert tokens <= ratio.tokens(size)
        ratio.measure(size, math.ceil(size / bytes_a_token))


@given(st.integers(0, MEASURED - 1), st.integers(0, 10_000))
def test_short_prompts_and_answers_without_a_count_change_nothing(size: int, tokens: int) -> None:
    assert 1000 == Ratio((size, tokens), (4000, 0)).tokens(4000)


def test_a_single_dense_text_is_forgotten_by_and_by() -> None:
    usual = [(4000, 1000)] * 50
    dense = Ratio(*usual, (4000, 4000))
    assert 4000 == dense.tokens(4000)
    for size, tokens in usual:
        dense.measure(size, tokens)
    assert dense.tokens(4000) < 1050


@pytest.mark.parametrize("bytes_a_token", [1, 8])
def test_media_count_by_their_bound_whatever_text_takes(bytes_a_token: int) -> None:
    ratio = Ratio(*[(8000, 8000 // bytes_a_token)] * 200)
    assert math.isclose(1024 + 400 / bytes_a_token, ratio.tokens(4096 + 400, media=4096), abs_tol=2)
