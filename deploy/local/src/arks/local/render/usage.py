"""`arks usage`: who used how much, from the ledger."""

from collections.abc import Mapping, Sequence
from typing import Any

from arks.local.render.table import table

_SUMS = ("requests", "promptTokens", "completionTokens")


def as_text(items: Sequence[Mapping[str, Any]]) -> str:
    """One line a token and endpoint, and the sum below when there are several."""
    if not items:
        return "Nothing was used.\n"
    rows = [(one["namespace"], one["token"], one["endpoint"], *_numbers(one)) for one in items]
    if len(items) > 1:
        rows.append(("", "total", "", *_numbers({name: sum(int(one[name]) for one in items) for name in _SUMS})))
    return table(("Namespace", "Token", "Endpoint", "Requests", "Prompt", "Completion", "Tokens"), rows)


def _numbers(one: Mapping[str, Any]) -> tuple[str, ...]:
    requests, prompt, completion = (int(one[name]) for name in _SUMS)
    return tuple(f"{value:,}" for value in (requests, prompt, completion, prompt + completion))
