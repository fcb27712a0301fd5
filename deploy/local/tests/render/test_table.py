"""Tables and numbers as people read them."""

import pytest

from arks.local.render.quantities import duration, number, percent, size
from arks.local.render.table import shorten, table


def test_a_table_has_capitals_above_and_columns_as_wide_as_their_longest_cell() -> None:
    text = table(("Name", "Age"), [("a", 1), ("long-name", None)])
    assert "NAME        AGE\na           1\nlong-name\n" == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (3 * 3600 - 1, "179m"),
        (7 * 3600 + 5 * 60, "7h5m"),
        (47 * 3600, "47h"),
        (3 * 86400 + 4 * 3600, "3d4h"),
        (400 * 86400, "400d"),
        (3 * 365 * 86400 + 86400, "3y1d"),
        (10 * 365 * 86400, "10y"),
    ],
)
def test_durations_read_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert text == duration(seconds)


def test_sizes_have_the_unit_that_leaves_few_digits() -> None:
    assert ["0 B", "999 B", "98.4 MB", "1.5 TB"] == [size(value) for value in (0, 999, 98_362_432, 1.5e12)]


def test_what_is_not_known_is_a_dash_and_not_a_zero() -> None:
    assert ["-", "0", "-", "0%"] == [number(None), number(0), percent(None), percent(0)]


def test_a_long_text_is_cut_to_one_line_of_the_width() -> None:
    assert "one two t…" == shorten("one\ntwo  three", 10)
