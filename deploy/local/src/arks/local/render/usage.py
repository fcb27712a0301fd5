"""`arks usage`: requests and tokens by API key and endpoint, from the ledger."""

from collections.abc import Mapping, Sequence
from typing import Any

from arks.local.render.table import table

_SUMS = ("requests", "promptTokens", "completionTokens")


def as_text(items: Sequence[Mapping[str, Any]]) -> str:
    """One line per ArksToken and endpoint, with a total if there are several."""
    if not items:
        return "Nothing was used.\n"
    rows = [(item["namespace"], item["token"], item["endpoint"], *_numbers(item)) for item in items]
    if len(items) > 1:
        totals = {name: sum(int(item[name]) for item in items) for name in _SUMS}
        rows.append(("", "total", "", *_numbers(totals)))
    return table(("Namespace", "Token", "Endpoint", "Requests", "Prompt", "Completion", "Tokens"), rows)


def _numbers(sums: Mapping[str, Any]) -> tuple[str, ...]:
    requests, prompt, completion = (int(sums[name]) for name in _SUMS)
    return tuple(f"{value:,}" for value in (requests, prompt, completion, prompt + completion))
