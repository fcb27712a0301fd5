import pytest

from arks.local.render.table import fitting_table, shorten, table


def test_a_table_has_a_header_in_capitals_and_columns_as_wide_as_their_longest_cell() -> None:
    text = table(("Name", "Age"), [("a", 1), ("long-name", None)])
    assert "NAME        AGE\na           1\nlong-name\n" == text


def test_a_long_text_is_cut_to_one_line_of_the_width() -> None:
    assert "one two t…" == shorten("one\ntwo  three", 10)


def test_a_table_that_is_too_wide_loses_text_in_its_widest_columns_but_no_names() -> None:
    row = ["a-long-name-of-an-application", "x" * 50, "short", "y" * 30]
    lines = table(["name", "path", "state", "source"], [row], width=90).splitlines()
    assert max(map(len, lines)) <= 90
    assert lines[1].startswith(row[0])
    assert "short" in lines[1]
    assert 2 == lines[1].count("…")


def test_numbers_are_aligned_on_the_right() -> None:
    assert "NAME   USED\na        10\nb       900\n" == table(["name", "used"], [["a", 10], ["b", 900]], numbers=1)


ROW = ["team-a", "smollm2", "41,230", "18,200,000"]
HEADERS = ["Namespace", "Endpoint", "Requests", "Total"]


def test_a_table_that_fits_is_a_table() -> None:
    assert table(HEADERS, [ROW], numbers=2) == fitting_table(HEADERS, [ROW], width=46, numbers=2)


def test_rows_that_do_not_fit_are_paragraphs_without_empty_cells() -> None:
    text = fitting_table(HEADERS, [ROW, ["total", "", "1", "2"]], width=40, numbers=2)
    assert text == ("team-a\n  ENDPOINT smollm2   REQUESTS 41,230\n  TOTAL 18,200,000\ntotal\n  REQUESTS 1   TOTAL 2\n")


def test_notes_follow_their_row_where_they_do_not_fit() -> None:
    headers, row = ["Replica", "Weight", "Why"], ["smollm2-0", "7", "it has the fewest requests of all replicas"]
    assert fitting_table(headers, [row], width=40, notes=True) == (
        "REPLICA     WEIGHT\nsmollm2-0   7\n  it has the fewest requests of all\n  replicas\n"
    )
    assert fitting_table(headers, [row], width=16, notes=True).startswith("smollm2-0\n  WEIGHT 7\n  it has the")


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80])
def test_no_line_is_wider_than_the_terminal_where_words_fit(width: int) -> None:
    text = fitting_table(HEADERS, [ROW, ["x" * 60] * 4], width=width, numbers=2)
    assert max(map(len, text.splitlines())) <= max(width, 20)
