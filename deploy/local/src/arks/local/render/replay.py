"""`arks replay`: shares and changes of a trace, as recorded and with another policy."""

from collections.abc import Mapping, Sequence
from typing import Any

from arks.local.render.decisions import Decision, groups
from arks.local.render.plain import parse_time
from arks.local.render.table import shorten, table

SHOWN = 12
"""Changes of each policy; -o json has all."""
_NAMES = {"recorded": "recorded spec", "policy": "policy"}


def as_text(result: Mapping[str, Any]) -> str:
    """`result`: as endpoint-router's programs/replay.py prints it."""
    policies = [name for name in _NAMES if name in result]
    lines = [f"Endpoint {result['endpoint']}: {result['seconds']:g} s, {result['reports']:,} load reports", ""]
    text = "\n".join([*lines, _shares(result, policies)])
    for name in policies:
        text += "\n" + "\n".join(_changes(_NAMES[name], result[name]["decisions"])) + "\n"
    return text


def _shares(result: Mapping[str, Any], policies: Sequence[str]) -> str:
    replicas = sorted({replica for name in policies for replica in result[name]["shares"]})
    if not replicas:
        return "No replica got requests.\n"
    rows = [
        (shorten(replica, 30), *(f"{100 * result[name]['shares'].get(replica, 0.0):.1f}%" for name in policies))
        for replica in replicas
    ]
    return table(("Replica", *(f"Share, {_NAMES[name]}" for name in policies)), rows)


def _changes(name: str, decisions: Sequence[Decision]) -> list[str]:
    more = f", the first {SHOWN}" if len(decisions) > SHOWN else ""
    lines = [f"{len(decisions)} changes with the {name}{more}:" if decisions else f"No changes with the {name}."]
    began = parse_time(decisions[0]["decidedAt"]) if decisions else None
    for decision in decisions[:SHOWN]:
        at = parse_time(decision["decidedAt"])
        passed = (at - began).total_seconds() if at is not None and began is not None else 0.0
        lines.append(f"  {f'+{passed:.1f}s':>9}  {groups(decision) or decision['message']}")
    return lines
