"""Tables like kubectl's: a header in capitals, three spaces between columns, no rules; fit for grep and awk."""

import textwrap
from collections.abc import Sequence

GAP = "   "


UNLIMITED = 10_000
"""The width of what is not a terminal: nothing is cut."""
_MOST_LINES = 4
"""Of an explanation."""
_LEAST_LINE = 20
"""Characters of a line of text on the narrowest terminal."""
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
        GAP.join(
            shorten(cell, size).rjust(size) if column >= first_number else shorten(cell, size).ljust(size)
            for column, (cell, size) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def fitting_table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, width: int, numbers: int = 0, notes: bool = False
) -> str:
    """A table, or where it does not fit the width, a paragraph for each row: its first cell, then the others with their
    headers. `notes`: the last column has sentences, which follow their row where the table is too wide.
    """
    whole = table(headers, rows, numbers=numbers)
    if _is_within(whole, width):
        return whole
    sentences = ["" if row[-1] is None else str(row[-1]) for row in rows] if notes else [""] * len(rows)
    shown, titles = ([row[:-1] for row in rows], headers[:-1]) if notes else (rows, headers)
    header, *lines = table(titles, shown, numbers=numbers).splitlines()
    if all(len(line) <= width for line in (header, *lines)):
        noted = zip(lines, sentences, strict=True)
        return f"{header}\n" + "".join(f"{line}\n{indented(sentence, width)}" for line, sentence in noted)
    return "".join(
        _paragraph(titles, row, width) + indented(sentence, width)
        for row, sentence in zip(shown, sentences, strict=True)
    )


def _is_within(text: str, width: int) -> bool:
    return all(len(line) <= width for line in text.splitlines())


def _paragraph(headers: Sequence[str], row: Sequence[object], width: int) -> str:
    first, *cells = map(_cell, row)
    named = [f"{header.upper()} {cell}" for header, cell in zip(headers[1:], cells, strict=True) if cell]
    room = max(_LEAST_LINE, width)
    return f"{shorten(first, room)}\n" + "".join(f"  {line}\n" for line in filled(named, room - 2))


def filled(parts: Sequence[str], width: int) -> list[str]:
    """Lines of at most `width` characters with as many of the parts as fit; a part that is longer is cut."""
    lines: list[str] = []
    for part in (shorten(part, width) for part in parts):
        if lines and len(lines[-1]) + len(GAP) + len(part) <= width:
            lines[-1] += GAP + part
        else:
            lines.append(part)
    return lines


def wrapped(line: str, width: int) -> list[str]:
    """The lines of a sentence; the later ones are indented below its own indentation."""
    if len(line) <= width:
        return [line]
    indentation = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, max(_LEAST_LINE, width), subsequent_indent=indentation, break_on_hyphens=False)


def column_widths(rows: Sequence[Sequence[str]], least: Sequence[int] = ()) -> list[int]:
    """The length of each column's longest cell, or what it has to have at least."""
    longest = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [max(pair) for pair in zip(longest, least, strict=True)] if least else longest


def _narrow(widths: list[int], width: int) -> None:
    """Reduce the widest columns, except the first, until the table fits or nothing can be cut."""
    while sum(widths) + len(GAP) * (len(widths) - 1) > width and len(widths) > 1:
        widest = max(range(1, len(widths)), key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def indented(text: str, width: int) -> str:
    """Lines of at most `width` characters that belong to the line before them; empty for an empty text."""
    lines = textwrap.wrap(
        text, max(_LEAST_LINE, width), initial_indent="  ", subsequent_indent="  ", max_lines=_MOST_LINES
    )
    return "".join(f"{line}\n" for line in lines)


def shorten(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _cell(value: object) -> str:
    return "" if value is None else str(value)
