"""`arks explain`: the weights of an endpoint's replicas and the reason for each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from arks.local.render import decisions
from arks.local.render.plain import Object, parse_time
from arks.local.render.quantities import age, number
from arks.local.render.table import UNLIMITED, fitting_table, shorten, wrapped
from arks.local.render.top import Row

_SOURCES = {
    "engine": "from engine signals",
    "static": "as configured, because there are no signals",
    "equal": "equal, because there are no signals and no configured weights",
}


def as_text(
    endpoint: Object, rows: Sequence[Row], now: datetime, decided: Mapping[str, Any], width: int = UNLIMITED
) -> str:
    """`rows`: replicas of all applications; the endpoint's own are found through its status. `decided`: the router's
    newest decision and its changes.
    """
    metadata, status = endpoint["metadata"], endpoint.get("status") or {}
    source = str(status.get("signalSource") or "")
    lines = [
        f"Endpoint {metadata['namespace']}/{metadata['name']}",
        f"Default weight of an application: {endpoint.get('spec', {}).get('defaultWeight', 1)}",
        f"Weights: {_SOURCES.get(source, source) or 'none yet'}",
        *decisions.affinity(endpoint.get("spec", {})),
        *_conditions(status.get("conditions", []), now),
        "",
    ]
    weights = status.get("weights", [])
    newest = decided.get("newest")
    after = [
        *(decisions.excluded(newest) if newest is not None else []),
        *decisions.changes(decided.get("changes", []), now),
    ]
    if not weights:
        return _filled([*lines, "No replica gets traffic: clients get 503.", *after], width)
    text = _filled(lines, width) + _weights(weights, _by_replica(rows, metadata["namespace"]), width)
    return text + _filled(["", *after], width) if after else text


def _filled(lines: Sequence[str], width: int) -> str:
    return "".join(f"{part}\n" for line in lines for part in wrapped(line, width))


def _by_replica(rows: Sequence[Row], namespace: str) -> Mapping[tuple[str, str], Row]:
    return {(row.application, row.replica): row for row in rows if row.namespace == namespace}


def _conditions(conditions: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    return [
        f"{condition['type']}: {condition['status']} for {age(parse_time(condition.get('lastTransitionTime')), now)}"
        f" ({': '.join(part for part in (condition.get('reason'), condition.get('message')) if part)})"
        for condition in conditions
    ]


def _weights(weights: Sequence[Mapping[str, Any]], readings: Mapping[tuple[str, str], Row], width: int) -> str:
    total = sum(weight["weight"] for weight in weights) or 1
    rows = []
    for weight in weights:
        row = readings.get((weight["application"], weight["replica"]))
        rows.append(
            (
                shorten(weight["replica"], 30),
                shorten(weight.get("group") or weight["application"], 30),
                f"{weight['weight']:,}",
                f"{100 * weight['weight'] / total:.0f}%",
                number(row.running if row else None),
                number(row.waiting if row else None),
                "-" if row is None or row.age_seconds is None else f"{row.age_seconds:.1f}s",
                weight.get("reason", ""),
            )
        )
    headers = ("Replica", "Group", "Weight", "Share", "Run", "Wait", "Age", "Why")
    return fitting_table(headers, rows, width=width, notes=True)
