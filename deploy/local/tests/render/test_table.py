from arks.local.render.table import shorten, table


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
