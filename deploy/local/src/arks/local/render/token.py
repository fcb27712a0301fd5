"""`arks token show`: what a key may use, and what it has used. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from arks.local.render.columns import budgets, columns_of
from arks.local.render.health import is_ready, why
from arks.local.render.kinds import TOKEN
from arks.local.render.plain import Object, parse_time, spec_of
from arks.local.render.quantities import compact, duration, percent
from arks.local.render.references import has_ended
from arks.local.render.table import table


def as_text(token: Object, quotas: Mapping[str, Object], used: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """`quotas`: of the token's namespace, by name. `used`: sums of today by endpoint."""
    spec = spec_of(token)
    lines = [f"{token['metadata']['namespace']}/{token['metadata']['name']}  {_state(token, now)}"]
    if not has_ended(token):
        lines += [f"  a previous key works for another {text}" for text in _previous(spec, now)]
    today = {item["endpoint"]: item for item in used}
    rows = [_permission(qos, quotas, today) for qos in spec.get("qos", [])]
    return "\n".join(
        [*lines, "", table(("Endpoint", "Limits", "Quota", "Left", "Requests today", "Tokens today"), rows)]
    )


def _state(token: Object, now: datetime) -> str:
    if has_ended(token):
        return f"not active: {why(token)}"
    expires = next(column for column in columns_of(TOKEN) if column.name == "Expires").cell(token, now)
    return f"{'active' if is_ready(token) else f'not active: {why(token)}'}, expires {expires}"


def _previous(spec: Mapping[str, Any], now: datetime) -> list[str]:
    ends = [parse_time(item.get("until")) for item in spec.get("previous", [])]
    return [duration((end - now).total_seconds()) for end in ends if end is not None and end > now]


def _permission(
    qos: Mapping[str, Any], quotas: Mapping[str, Object], today: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    endpoint, quota = qos["arksEndpoint"]["name"], (qos.get("quota") or {}).get("name", "")
    limits = ", ".join(f"{limit['type']} {compact(limit['value'])}" for limit in qos.get("rateLimits", []))
    found = budgets(quotas[quota]) if quota in quotas else []
    remaining = "not found" if quota and quota not in quotas else percent(found[0].remaining_ratio) if found else ""
    sums = today.get(endpoint, {})
    tokens = int(sums.get("promptTokens", 0)) + int(sums.get("completionTokens", 0))
    return endpoint, limits or "none", quota or "none", remaining, f"{sums.get('requests', 0):,}", f"{tokens:,}"
