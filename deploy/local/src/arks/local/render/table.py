"""Tables like kubectl's: a header in capitals, three spaces between columns, no rules; fit for grep and awk."""

import textwrap
from collections.abc import Sequence

_GAP = "   "


UNLIMITED = 10_000
"""The width of what is not a terminal: nothing is cut."""
_MOST_LINES = 4
"""Of an explanation."""
_NARROWEST = 12
"""Characters of a cell that has to be cut."""


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    width: int = UNLIMITED,
    numbers: int = 0,
    least: Sequence[int] = (),
) -> str:
    """A table that ends with a newline. The last column is not padded.

    Wider than `width`, the widest columns are cut, but never the first one, which has names. `numbers`: how many of
    the last columns are aligned on the right. `least`: the least widths of the columns.
    """
    cells = [[header.upper() for header in headers], *([_cell(value) for value in row] for row in rows)]
    widths = column_widths(cells, least)
    _narrow(widths, width)
    first_number = len(headers) - numbers
    lines = (
        _GAP.join(
            shorten(cell, size).rjust(size) if column >= first_number else shorten(cell, size).ljust(size)
            for column, (cell, size) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def column_widths(rows: Sequence[Sequence[str]], least: Sequence[int] = ()) -> list[int]:
    """The length of each column's longest cell, or what it has to have at least."""
    longest = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [max(pair) for pair in zip(longest, least, strict=True)] if least else longest


def _narrow(widths: list[int], width: int) -> None:
    """Reduce the widest columns, except the first, until the table fits or nothing can be cut."""
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width and len(widths) > 1:
        widest = max(range(1, len(widths)), key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def indented(text: str, width: int) -> str:
    """Lines of at most `width` characters that belong to the line before them; empty for an empty text."""
    lines = textwrap.wrap(text, max(20, width), initial_indent="  ", subsequent_indent="  ", max_lines=_MOST_LINES)
    return "".join(f"{line}\n" for line in lines)


def shorten(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _cell(value: object) -> str:
    return "" if value is None else str(value)
