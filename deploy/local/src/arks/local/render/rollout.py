"""`arks rollout status`: where the rollouts of endpoints are. Pure."""

from collections.abc import Sequence
from typing import Any

from arks.local.render.plain import Object, spec_of
from arks.local.render.table import UNLIMITED, fitting_table


def as_data(endpoints: Sequence[Object]) -> list[dict[str, Any]]:
    """A row per endpoint with a rollout. Fields may be added, never renamed."""
    return [_row(endpoint) for endpoint in endpoints if spec_of(endpoint).get("rollout")]


def _row(endpoint: Object) -> dict[str, Any]:
    wanted, written = spec_of(endpoint)["rollout"], (endpoint.get("status") or {}).get("rollout") or {}
    known = written if written.get("canary") == wanted["canary"] else {}
    return {
        "namespace": endpoint["metadata"]["namespace"],
        "endpoint": endpoint["metadata"]["name"],
        "canary": wanted["canary"],
        "phase": known.get("phase", "Progressing") if known else "Pending",
        "percent": known.get("percent", 0),
        "step": known.get("step", 0) + 1 if known else 0,
        "steps": len(wanted.get("steps", (5, 25, 50))),
        "since": known.get("since"),
        "message": known.get("message", ""),
    }


def as_text(rows: Sequence[dict[str, Any]], *, namespaces: bool, width: int = UNLIMITED) -> str:
    header = ("Endpoint", "Canary", "Phase", "Share", "Step", "Measured")
    shown = [
        (
            *((row["namespace"],) if namespaces else ()),
            *(row["endpoint"], row["canary"], row["phase"], f"{row['percent']} %"),
            *(f"{row['step']} of {row['steps']}", row["message"]),
        )
        for row in rows
    ]
    return fitting_table(("Namespace", *header) if namespaces else header, shown, width=width, notes=True)
