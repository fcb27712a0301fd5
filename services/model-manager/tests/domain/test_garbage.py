"""Which content goes when a disk fills up."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.model_manager.domain.garbage import Disk, Unused, Watermarks, bytes_to_free, condemned

MARKS = Watermarks(90, 70)


def unused(name: str, size_bytes: int, since_ns: int) -> Unused:
    return Unused(Path(name), size_bytes, since_ns)


@pytest.mark.parametrize(
    ("free_bytes", "needed_bytes", "expected"),
    [(500, 0, 0), (100, 0, 0), (99, 0, 201), (0, 0, 300), (500, 600, 100), (99, 500, 401), (99, 100, 201)],
)
def test_above_the_high_mark_the_disk_is_emptied_to_the_low_one(
    free_bytes: int, needed_bytes: int, expected: int
) -> None:
    assert expected == bytes_to_free(Disk(1000, free_bytes), MARKS, needed_bytes)


def test_marks_of_zero_keep_nothing() -> None:
    assert 500 == bytes_to_free(Disk(1000, 500), Watermarks(0, 0))


@pytest.mark.parametrize(("high", "low"), [(70, 90), (101, 50), (50, -1)])
def test_marks_in_the_wrong_order_are_refused(high: float, low: float) -> None:
    with pytest.raises(ValueError, match="0 <= low <= high <= 100"):
        Watermarks(high, low)


def test_what_was_unused_for_longest_goes_first_and_no_more_than_needed() -> None:
    contents = [unused("new", 10, 3), unused("old", 10, 1), unused("middle", 10, 2)]
    assert ["old", "middle"] == [content.path.name for content in condemned(contents, 11)]
    assert [] == condemned(contents, 0)


@given(st.lists(st.integers(0, 100), max_size=20), st.integers(0, 1000))
def test_enough_goes_if_there_is_enough(sizes: list[int], wanted_bytes: int) -> None:
    contents = [unused(str(number), size, number) for number, size in enumerate(sizes)]
    freed = sum(content.size_bytes for content in condemned(contents, wanted_bytes))
    assert min(wanted_bytes, sum(sizes)) <= freed
