"""`arks get`: resources as tables with the printer columns of their CRDs, as YAML, JSON or names."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from arks.contracts.resources import PrinterColumn, Resource, Secret
from arks.local.render.quantities import age
from arks.local.render.table import table

_SECRET_COLUMNS = (PrinterColumn("Type", ".type"), PrinterColumn("Keys", ".keys"))

Object = Mapping[str, Any]
"""A resource as plain data."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The resources of one kind."""

    kind: type[Resource]
    objects: Sequence[Object]


def qualified(kind: type[Resource], name: str) -> str:
    """`arksmodel.arks.ai/qwen`."""
    return f"{kind.singular}.{kind.group}/{name}" if kind.group else f"{kind.singular}/{name}"


def names(listings: Sequence[Listing]) -> str:
    return "".join(
        f"{qualified(listing.kind, resource['metadata']['name'])}\n"
        for listing in listings
        for resource in listing.objects
    )


def tables(
    listings: Sequence[Listing], now: datetime, *, wide: bool = False, namespaces: bool = False, headers: bool = True
) -> str:
    """One table per kind; with several kinds the names are qualified with theirs."""
    several = len(listings) > 1
    texts = [_table(listing, now, wide, namespaces, several) for listing in listings if listing.objects]
    text = "\n".join(texts)
    return text if headers else "".join(line for part in texts for line in part.splitlines(keepends=True)[1:])


def _table(listing: Listing, now: datetime, wide: bool, namespaces: bool, qualify: bool) -> str:
    columns = [column for column in columns_of(listing.kind) if wide or not column.wide]
    header = [*(["Namespace"] if namespaces else []), "Name", *(column.name for column in columns)]

    def name(resource: Object) -> str:
        plain = str(resource["metadata"]["name"])
        return qualified(listing.kind, plain) if qualify else plain

    rows = [
        [
            *([resource["metadata"].get("namespace", "")] if namespaces else []),
            name(resource),
            *(_value(resource, column, now) for column in columns),
        ]
        for resource in listing.objects
    ]
    return table(header, rows)


def columns_of(kind: type[Resource]) -> Sequence[PrinterColumn]:
    """The printer columns of a kind. A Secret's are those of kubectl, without any value."""
    return _SECRET_COLUMNS if kind is Secret else kind.columns


def _value(resource: Object, column: PrinterColumn, now: datetime) -> str:
    found = lookup(resource, column.json_path)
    if column.type == "date":
        return age(parse_time(found), now)
    return "" if found is None else str(found)


def lookup(resource: Object, json_path: str) -> Any:
    """The value at a path like `.status.phase`; None if it is absent."""
    found: Any = resource
    for part in json_path.strip(".").split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


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


class _Dumper(yaml.SafeDumper):
    """Dumps text of several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(data: object) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
