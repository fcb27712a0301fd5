"""Tables like kubectl's: a header in capitals, three spaces between columns, no rules; fit for grep and awk."""

from collections.abc import Sequence

_GAP = "   "


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table that ends with a newline. The last column is not padded."""
    cells = [[header.upper() for header in headers], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = (
        _GAP.join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]])
        for row in cells
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def shorten(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _cell(value: object) -> str:
    return "" if value is None else str(value)
