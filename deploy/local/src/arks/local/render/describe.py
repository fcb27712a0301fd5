"""`arks describe`: a resource with its conditions, replicas, last events, and the last log lines of failed replicas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from arks.local.render.events import Event
from arks.local.render.held import Held, sentence
from arks.local.render.plain import Object, parse_time
from arks.local.render.quantities import age
from arks.local.render.table import table
from arks.local.render.yaml_text import to_yaml

_LABEL_WIDTH = 14


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of a replica's log."""

    title: str
    lines: tuple[str, ...]


def describe(
    resource: Object, events: Sequence[Event], tails: Sequence[LogTail], now: datetime, held: Sequence[Held] = ()
) -> str:
    """`held`: requests that wait for an endpoint."""
    metadata, status = resource["metadata"], dict(resource.get("status") or {})
    conditions = status.pop("conditions", [])
    instances = status.pop("instances", [])
    parts = [
        _head(resource, metadata, now),
        _yaml("Spec", resource.get("spec")),
        _yaml("Status", status),
        _section("Conditions", _conditions(conditions, now)),
        _section("Held", "".join(f"{sentence(item)}\n" for item in held)),
        _section("Replicas", _instances(instances)),
        _section("Starts (seconds)", _starts(instances)),
        *(_section(tail.title, "".join(f"{line}\n" for line in tail.lines)) for tail in tails),
        _section("Events", _events(events, now)) or "Events:       <none>\n",
    ]
    return "".join(part for part in parts if part)


def _head(resource: Object, metadata: Mapping[str, Any], now: datetime) -> str:
    created = metadata.get("creationTimestamp")
    fields = {
        "Name": metadata["name"],
        "Namespace": metadata.get("namespace", ""),
        "Labels": _pairs(metadata.get("labels")),
        "Annotations": _pairs(metadata.get("annotations")),
        "Kind": f"{resource['kind']} ({resource['apiVersion']})",
        "Created": f"{created} ({age(parse_time(created), now)} ago)" if created else "<unknown>",
        "Generation": metadata.get("generation", ""),
    }
    if deleted := metadata.get("deletionTimestamp"):
        fields["Deleting"] = f"since {deleted}, waits for {', '.join(metadata.get('finalizers', [])) or 'nothing'}"
    return "".join(f"{name + ':':<{_LABEL_WIDTH}}{value}\n" for name, value in fields.items())


def _pairs(values: Mapping[str, str] | None) -> str:
    return ", ".join(f"{name}={value}" for name, value in (values or {}).items()) or "<none>"


def _yaml(title: str, data: object) -> str:
    return _section(title, to_yaml(data)) if data else ""


def _section(title: str, text: str) -> str:
    return f"{title}:\n" + "".join(f"  {line}\n" for line in text.splitlines()) if text else ""


def _conditions(conditions: Sequence[Mapping[str, Any]], now: datetime) -> str:
    if not conditions:
        return ""
    rows = [
        (
            condition["type"],
            condition["status"],
            age(parse_time(condition.get("lastTransitionTime")), now),
            condition.get("reason", ""),
            " ".join(str(condition.get("message", "")).split()),
        )
        for condition in conditions
    ]
    return table(("Type", "Status", "Age", "Reason", "Message"), rows)


def _instances(instances: Sequence[Mapping[str, Any]]) -> str:
    if not instances:
        return ""
    rows = [
        (
            instance["name"],
            instance["state"],
            instance.get("address", ""),
            instance.get("restarts", 0),
            _first_line(instance.get("message", "")),
        )
        for instance in instances
    ]
    return table(("Name", "State", "Address", "Restarts", "Message"), rows)


def _starts(instances: Sequence[Mapping[str, Any]]) -> str:
    """Where the time of each replica's start went; what was not measured is empty."""
    started = [(instance["name"], start) for instance in instances if (start := instance.get("start"))]
    if not started:
        return ""
    rows = [(name, *(_seconds(start.get(field)) for field in _PHASES)) for name, start in started]
    return table(("Name", *_PHASES.values()), rows)


_PHASES = {
    "seconds": "Total",
    "prepareSeconds": "Prepare",
    "imageSeconds": "Image",
    "readAheadSeconds": "Read ahead",
    "loadSeconds": "Load",
    "warmUpSeconds": "Warm-up",
}


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _first_line(text: str) -> str:
    return text.strip().split("\n", 1)[0]


def _events(events: Sequence[Event], now: datetime) -> str:
    if not events:
        return ""
    rows = [(age(event.time, now), event.type, event.reason, " ".join(event.message.split())) for event in events]
    return table(("Age", "Type", "Reason", "Message"), rows)
