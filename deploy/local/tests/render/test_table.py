from arks.local.render.table import shorten, table


def test_a_table_has_a_header_in_capitals_and_columns_as_wide_as_their_longest_cell() -> None:
    text = table(("Name", "Age"), [("a", 1), ("long-name", None)])
    assert "NAME        AGE\na           1\nlong-name\n" == text


def test_a_long_text_is_cut_to_one_line_of_the_width() -> None:
    assert "one two t…" == shorten("one\ntwo  three", 10)
