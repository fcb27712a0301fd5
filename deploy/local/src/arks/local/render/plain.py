"""Resources as plain data: paths, conditions, times, JSON. Standard library only."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Object = Mapping[str, Any]
"""A resource as plain data."""


def spec_of(resource: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = resource.get("spec") or {}
    return found


def status_of(resource: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = resource.get("status") or {}
    return found


def condition(resource: Object, kind: str) -> Mapping[str, Any]:
    """The condition of a type; empty if there is none."""
    found: Sequence[Mapping[str, Any]] = status_of(resource).get("conditions", [])
    return next((item for item in found if item["type"] == kind), {})


def lookup(resource: Object, json_path: str) -> Any:
    """The value at a path like `.status.phase`; None if it is absent."""
    found: Any = resource
    for part in json_path.strip(".").split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def camel_case(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of our own data under names as those of resources: `kvCacheRatio`."""

    def name(field: str) -> str:
        first, *others = field.split("_")
        return first + "".join(word.capitalize() for word in others)

    return {name(field): value for field, value in data.items()}


def parse_time(text: object) -> datetime | None:
    """An RFC 3339 time; None for anything else."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def as_list(objects: Sequence[Object], *, single: bool) -> Object:
    """One object as it is, several as a `v1/List`, like kubectl."""
    if single and len(objects) == 1:
        return objects[0]
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


def to_json(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
