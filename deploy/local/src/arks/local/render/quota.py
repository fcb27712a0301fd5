"""`arks quota`: each limit of each quota, with what is used and remaining. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from arks.local.render.columns import Budget, budgets, resets
from arks.local.render.plain import Object, spec_of
from arks.local.render.quantities import duration, percent
from arks.local.render.table import UNLIMITED, fitting_table


def as_data(quotas: Sequence[Object], now: datetime) -> list[dict[str, Any]]:
    """A row per limit. Fields may be added, never renamed."""
    return [_row(quota, budget, now) for quota in quotas for budget in budgets(quota)]


def _row(quota: Object, budget: Budget, now: datetime) -> dict[str, Any]:
    at = resets(quota, now)
    return {
        "namespace": quota["metadata"]["namespace"],
        "quota": quota["metadata"]["name"],
        "type": budget.type,
        "used": budget.used,
        "limit": budget.limit,
        "left": budget.remaining,
        "leftRatio": round(budget.remaining_ratio, 4),
        "period": spec_of(quota).get("period", "lifetime"),
        "resetsAt": None if at is None else at.isoformat(),
    }


def as_text(quotas: Sequence[Object], now: datetime, *, namespaces: bool, width: int = UNLIMITED) -> str:
    header = ("Quota", "Type", "Used", "Limit", "Left", "Left %", "Period", "Resets")
    rows = []
    for quota in quotas:
        at = resets(quota, now)
        when = "never" if at is None else f"in {duration((at - now).total_seconds())}"
        period = spec_of(quota).get("period", "lifetime")
        for budget in budgets(quota):
            numbers = (f"{value:,}" for value in (budget.used, budget.limit, budget.remaining))
            row = (quota["metadata"]["name"], budget.type, *numbers, percent(budget.remaining_ratio), period, when)
            rows.append((quota["metadata"]["namespace"], *row) if namespaces else row)
    return fitting_table(("Namespace", *header) if namespaces else header, rows, width=width)
