"""`arks get`: resources as tables or names."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from arks.local.render.columns import Column, columns_of
from arks.local.render.kinds import Kind
from arks.local.render.plain import Object
from arks.local.render.table import UNLIMITED, column_widths, indented, shorten, table

_WHY_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Listing:
    """The resources of one kind."""

    kind: Kind
    objects: Sequence[Object]


def qualified(kind: Kind, name: str) -> str:
    """`arksmodel.arks.ai/qwen`."""
    return f"{kind.singular}.{kind.group}/{name}" if kind.group else f"{kind.singular}/{name}"


def names(listings: Sequence[Listing]) -> str:
    return "".join(
        f"{qualified(listing.kind, resource['metadata']['name'])}\n"
        for listing in listings
        for resource in listing.objects
    )


def tables(
    listings: Sequence[Listing],
    now: datetime,
    *,
    wide: bool = False,
    namespaces: bool = False,
    headers: bool = True,
    width: int = UNLIMITED,
) -> str:
    """One table per kind. With several kinds the name's column is headed by the kind.

    Where a table is wider than `width`, each explanation is on lines of its own below its resource.
    """
    several = len(listings) > 1
    tabulated = partial(_table, now=now, wide=wide, namespaces=namespaces, several=several, width=width)
    texts = [tabulated(listing) for listing in listings if listing.objects]
    text = "\n".join(texts)
    return text if headers else "".join(line for part in texts for line in part.splitlines(keepends=True)[1:])


class GrowingTable:
    """The table of `arks get -w`: rows come one at a time; columns never become narrower, so rows stay aligned."""

    def __init__(self, kind: Kind, *, wide: bool, namespaces: bool, headers: bool) -> None:
        self._kind, self._wide, self._namespaces = kind, wide, namespaces
        self._columns = [column for column in columns_of(kind) if wide or not column.wide]
        self._headers = [*(["Namespace"] if namespaces else []), "Name", *(column.name for column in self._columns)]
        self._shows_headers = headers
        self._widths = column_widths([self._headers])

    def fit(self, objects: Sequence[Object], now: datetime) -> None:
        """Make the columns as wide as these resources need."""
        self._widths = column_widths([self._headers, *(self._row(found, now) for found in objects)], self._widths)

    def row(self, resource: Object, now: datetime) -> str:
        """The line of the resource, below the header if it is the first one."""
        self.fit([resource], now)
        text = table(self._headers, [self._row(resource, now)], least=self._widths)
        shown = text if self._shows_headers else text.partition("\n")[2]
        self._shows_headers = False
        return shown

    def _row(self, resource: Object, now: datetime) -> list[str]:
        lead = _lead(resource, self._namespaces)
        return [*lead, *(_cell(column, resource, now, self._wide) for column in self._columns)]


def _lead(resource: Object, namespaces: bool) -> list[str]:
    """The cells that name a resource."""
    meta = resource["metadata"]
    return [*([meta.get("namespace", "")] if namespaces else []), str(meta["name"])]


def _table(listing: Listing, *, now: datetime, wide: bool, namespaces: bool, several: bool, width: int) -> str:
    columns = [column for column in columns_of(listing.kind) if wide or not column.wide]
    rows = [[_cell(column, resource, now, wide) for column in columns] for resource in listing.objects]
    if columns[-1].name == "Why" and not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    header = [*(["Namespace"] if namespaces else []), listing.kind.word if several else "Name"]
    lead = [_lead(resource, namespaces) for resource in listing.objects]
    names, cells = [*header, *(column.name for column in columns)], [[*a, *b] for a, b in zip(lead, rows, strict=True)]
    text = table(names, cells)
    if max(map(len, text.splitlines())) <= width:
        return text
    if names[-1] != "Why":
        return table(names, cells, width=width)
    reasons = [columns[-1].cell(resource, now) for resource in listing.objects]
    return _with_reasons(table(names[:-1], [row[:-1] for row in cells], width=width), reasons, width)


def _with_reasons(text: str, reasons: Sequence[str], width: int) -> str:
    """A table with an explanation below each row that has one."""
    first, *others = text.splitlines(keepends=True)
    return first + "".join(row + indented(reason, width) for row, reason in zip(others, reasons, strict=True))


def _cell(column: Column, resource: Object, now: datetime, wide: bool) -> str:
    """An explanation is cut, unless the user wants everything."""
    text = column.cell(resource, now)
    return shorten(text, _WHY_CHARACTERS) if column.name == "Why" and not wide else text
