"""The screen of `arks top`: a title with totals, endpoints, replicas, and the keys. Pure.

It fits any terminal: no line is wider than the screen, and what has no room is counted instead of shown.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from arks.events.v1.facts_pb2 import EndpointFact
from arks.local.render.held import Held, sentence
from arks.local.render.quantities import number
from arks.local.render.sparkline import bar, sparkline
from arks.local.render.table import GAP, column_widths, filled, table
from arks.local.render.top import Row, cells

_WIDE = 120
"""From this width on there is room for bars."""
_SMALL = 60
"""Below this width names are cut to 16 characters."""
_SPARED = ("In/s", "Weight", "KV", "State", "Wait", "Out/s")
"""Columns without which a table fits a small screen, the first one first."""
_BAR_WIDTH = 10
_MOST_ENDPOINTS = 5
_MOST_HELD_LINES = 6
_NARROWEST = 20
"""Sentences are wrapped at this width at least; a smaller screen cuts them."""
KEYS = "q quit   s sort   ? columns"
COLUMNS = """\
RUN, WAIT   requests that the engine works on, and that wait in it
KV          share of the KV cache in use
IN/S        tokens of prompts per second
OUT/S       tokens of answers per second
WEIGHT      what an endpoint's traffic is divided by: `arks explain`
NOTE        why there is no measurement; "silent": it is older than 5 s
-           unknown, which is not 0"""

Key = Callable[[Row], tuple[float, str, str]]


def _highest(value: Callable[[Row], float | None]) -> Key:
    return lambda row: (-(value(row) or 0.0), row.namespace, row.replica)


SORTS: dict[str, Key] = {
    "name": lambda row: (0.0, row.namespace, row.replica),
    "run": _highest(lambda row: row.running),
    "wait": _highest(lambda row: row.waiting),
    "kv": _highest(lambda row: row.kv_cache_ratio),
    "out/s": _highest(lambda row: row.generation_tokens_per_second),
    "weight": _highest(lambda row: row.weight),
}


@dataclass(frozen=True, slots=True)
class View:
    """What the screen is made of. `speeds`: generated tokens per second of all replicas, newest last."""

    where: str
    rows: Sequence[Row]
    endpoints: Sequence[EndpointFact]
    speeds: Sequence[float]
    now: datetime
    sort: str = "name"
    columns: bool = False
    held: Sequence[Held] = ()


@dataclass(frozen=True, slots=True)
class Line:
    text: str
    style: str = ""
    """`title`, `bad`, `dim` or none."""


def total(rows: Sequence[Row], value: Callable[[Row], float | None]) -> float:
    """The sum of what is known."""
    return sum(value(row) or 0.0 for row in rows)


def screen(view: View, width: int, height: int) -> list[Line]:
    """At most `height` lines of at most `width` characters; the last has the keys."""
    above = [*_title(view, width), Line("")]
    if view.columns:
        above += [*(Line(line) for line in COLUMNS.splitlines()), Line("")]
    else:
        above += [*_endpoints(view.endpoints, width), *_held(view.held, width), Line("")]
    room = max(0, height - len(above) - 1)
    body = _replicas(view, width, room)
    keys = Line(f"{KEYS}   sorted by {view.sort}", "dim")
    lines = [*above, *body][: max(0, height - 1)]
    return [Line(_fitting(line.text, width), line.style) for line in [*lines, keys]][-height:]


def _title(view: View, width: int) -> list[Line]:
    rows = view.rows
    ready = sum(row.state == "Ready" for row in rows)
    running, waiting = total(rows, lambda row: row.running), total(rows, lambda row: row.waiting)
    prompt = total(rows, lambda row: row.prompt_tokens_per_second)
    generated = total(rows, lambda row: row.generation_tokens_per_second)
    first = f"Arks top   {view.where}   {view.now:%H:%M:%S} UTC"
    totals = (
        f"{ready} of {len(rows)} replicas ready",
        f"{number(running)} running, {number(waiting)} waiting",
        f"in {number(prompt)}/s",
        f"out {number(generated)}/s",
    )
    label = "tokens out/s "
    seconds = [Line(line) for line in filled(totals, width)]
    return [Line(first, "title"), *seconds, Line(label + sparkline(view.speeds, width - len(label)))]


def _endpoints(endpoints: Sequence[EndpointFact], width: int) -> list[Line]:
    lines = []
    for endpoint in endpoints[:_MOST_ENDPOINTS]:
        used = sum(replica.weight > 0 for replica in endpoint.replicas)
        state = f"{used} replica{'' if used == 1 else 's'}" if endpoint.ready else f"not ready: {endpoint.message}"
        name = f"{endpoint.namespace}/{endpoint.name}"
        model = f"   model {endpoint.model}" if endpoint.model and width >= _WIDE else ""
        lines.append(Line(f"endpoint {name}   {state}{model}", "" if endpoint.ready else "bad"))
    if len(endpoints) > _MOST_ENDPOINTS:
        lines.append(Line(f"{len(endpoints) - _MOST_ENDPOINTS} more endpoints: arks get endpoints -A", "dim"))
    return lines or [Line("no endpoints", "dim")]


def _held(found: Sequence[Held], width: int) -> list[Line]:
    """The longest waits first, each as a whole sentence on as many lines as it needs."""
    lines: list[str] = []
    longest = sorted(found, key=lambda held: -held.for_seconds)
    for shown, held in enumerate(longest):
        wrapped = textwrap.wrap(sentence(held), max(_NARROWEST, width), subsequent_indent="  ")
        if lines and len(lines) + len(wrapped) > _MOST_HELD_LINES:
            more = len(longest) - shown
            return [*(Line(line, "bad") for line in lines), Line(f"requests for {more} more models held", "dim")]
        lines += wrapped
    return [Line(line, "bad") for line in lines]


def _replicas(view: View, width: int, room: int) -> list[Line]:
    """The table, with a count of the rows that have no room."""
    if not view.rows:
        return [Line("No replicas: arks get applications -A shows why.", "dim")]
    found = sorted(view.rows, key=SORTS[view.sort])
    shown = found if len(found) < room else found[: max(0, room - 2)]
    namespaces = len({row.namespace for row in found}) > 1
    headers, cells_of_rows = _fitting_columns(_headers(width), [_cells(row, namespaces, width) for row in shown], width)
    header, *lines = table(headers, cells_of_rows).splitlines()
    styles = ["bad" if row.problem or row.state == "Failed" else "" for row in shown]
    more = len(found) - len(shown)
    rest = [Line(f"{more} more replicas", "dim")] if more else []
    return [Line(header, "title"), *(Line(line, style) for line, style in zip(lines, styles, strict=True)), *rest]


def _fitting_columns(
    headers: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Those columns of a table that fit the screen; its last one, the notes, is cut instead."""
    for spared in _SPARED:
        widths = column_widths([headers, *rows])[:-1]
        if sum(widths) + len(GAP) * len(widths) <= width:
            break
        at = headers.index(spared)
        headers, *rows = ([*row[:at], *row[at + 1 :]] for row in (headers, *rows))
    return headers, rows


def _headers(width: int) -> tuple[str, ...]:
    cache = ("KV", "") if width >= _WIDE else ("KV",)
    return ("Replica", "State", "Run", "Wait", *cache, "In/s", "Out/s", "Weight", "Note")


def _cells(row: Row, namespaces: bool, width: int) -> tuple[str, ...]:
    name, state, running, waiting, cache, *others = cells(row, namespaces, _name_width(width))
    bars = (bar(row.kv_cache_ratio, _BAR_WIDTH),) if width >= _WIDE else ()
    return (name, state, running, waiting, cache, *bars, *others)


def _name_width(width: int) -> int:
    if width >= _WIDE:
        return 60
    return 26 if width >= _SMALL else 16


def _fitting(line: str, width: int) -> str:
    """At most `width` characters, with the spaces between columns."""
    return line if len(line) <= width else f"{line[: max(0, width - 1)]}…"[:width]
