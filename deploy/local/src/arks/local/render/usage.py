"""`arks usage`: requests and tokens from the ledger, as a table or as CSV. Pure."""

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from arks.local.render.table import UNLIMITED, fitting_table, wrapped

_SUMS = ("requests", "promptTokens", "completionTokens", "totalTokens")
_HEADERS = ("Requests", "Input", "Output", "Total")

Row = Mapping[str, Any]


def as_text(
    data: Mapping[str, Any],
    groups: Sequence[str],
    period: tuple[str | None, str | None],
    width: int = UNLIMITED,
) -> str:
    """A line per group, the largest first (days in their order), with a total and where the numbers are from."""
    items = _in_order(data["items"], groups)
    if not items:
        return f"Nothing was used{_period(period)}.\n"
    all_tokens = max(1, int(data["total"]["totalTokens"]))
    total = data["total"]
    rows = [(*_names(item, groups), *_numbers(item), _share(item, all_tokens), *_cost(item, total)) for item in items]
    if len(items) > 1:
        rows.append((*_total_names(groups), *_numbers(total), "100%", *_cost(total, total)))
    headers = [*_HEADERS, "Share", *([f"Cost {data['currency']}".strip()] if "cost" in total else [])]
    titles = (*(group.capitalize() for group in groups), *headers)
    footer = (part for line in _footer(data, items) for part in wrapped(line, width))
    return fitting_table(titles, rows, width=width, numbers=len(headers)) + "".join(f"{line}\n" for line in footer)


def _in_order(items: Sequence[Row], groups: Sequence[str]) -> Sequence[Row]:
    if "day" in groups:
        return sorted(items, key=lambda item: tuple(str(item[group]) for group in ("day", *groups)))
    return sorted(items, key=lambda item: -int(item["totalTokens"]))


def _names(item: Row, groups: Sequence[str]) -> list[str]:
    return [str(item[group] or "<none>") for group in groups]


def _total_names(groups: Sequence[str]) -> list[str]:
    return ["total", *[""] * (len(groups) - 1)] if groups else []


def _numbers(sums: Row) -> list[str]:
    return [f"{int(sums[name]):,}" for name in _SUMS]


def _share(item: Row, all_tokens: int) -> str:
    return f"{100 * int(item['totalTokens']) / all_tokens:.0f}%"


def _cost(sums: Row, total: Row) -> tuple[str, ...]:
    """Empty without prices. Small sums have more digits."""
    if "cost" not in sums:
        return ()
    digits = 2 if Decimal(total["cost"]) >= 1 else 6
    return ("-" if sums["cost"] is None else f"{Decimal(sums['cost']):,.{digits}f}",)


def _period(period: tuple[str | None, str | None]) -> str:
    first, last = period
    return (f" from {first}" if first else "") + (f" until {last}" if last else "")


def _footer(data: Mapping[str, Any], items: Sequence[Row]) -> list[str]:
    """Where the tokens are from, and whether requests are still in flight."""
    total = max(1, int(data["total"]["totalTokens"]))
    by_source: dict[str, int] = {}
    for item in items:
        for source, sums in item.get("bySource", {}).items():
            by_source[source] = by_source.get(source, 0) + int(sums["totalTokens"])
    shares = [f"{source} {100 * tokens / total:.1f}%" for source, tokens in by_source.items() if tokens]
    lines = [f"counted by: {', '.join(shares)}"] if shares else []
    if unpriced := data.get("unpriced"):
        lines.append(f"not in the costs, because there is no price: {', '.join(unpriced)}")
    if in_flight := data.get("openReservations"):
        lines.append(f"not in the sums: at most {in_flight:,} requests that are in flight or admitted in advance")
    return ["", *lines] if lines else []


def as_csv(data: Mapping[str, Any], groups: Sequence[str]) -> str:
    """Plain numbers under the names of `-o json`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    costs = "cost" in data["total"]
    writer.writerow([*groups, *_SUMS, *(["cost", "currency"] if costs else [])])
    for item in _in_order(data["items"], groups):
        cost = [item["cost"], data["currency"]] if costs else []
        writer.writerow([*(item[group] for group in groups), *(int(item[name]) for name in _SUMS), *cost])
    return text.getvalue()
