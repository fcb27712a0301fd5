"""Which fields of an object are ours, from its `metadata.managedFields`. Pure.

The API server notes for each writer the fields that it set last. A field that another writer changed or removed is no
longer among ours, so a change by hand is visible without the values: defaults, other spellings of a quantity and what a
webhook set during our own request remain ours. Format: FieldsV1 of structured-merge-diff (`f:` a field, `k:` the item
of a list with these keys, `v:` a value of a set, `.` the item itself; `{}` a field without parts of its own).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arks.kit.types import Json

_NOT_OWNED = frozenset({"apiVersion", "kind", "metadata", "status"})
_METADATA = ("labels", "annotations", "ownerReferences")
Owners = Sequence[tuple[str, Json]]
"""Other writers, each with the fields that it set last."""


@dataclass(frozen=True, slots=True)
class LostField:
    """A field that we set and another writer changed or removed."""

    path: str
    writer: str
    """Who set it last; empty if unknown, as after a removal and after `kubectl scale`."""


def our_fields(obj: Json, manager: str) -> Json:
    """Return the fields of `obj` that `manager` set last, whether by server-side apply or otherwise."""
    merged: Json = {}
    for entry in _entries(obj):
        if entry.get("manager") == manager:
            merged = _union(merged, entry.get("fieldsV1") or {})
    return merged


def fields_of_others(obj: Json, manager: str) -> list[tuple[str, Json]]:
    """Return the other writers of the object, each with the fields that it set last."""
    others = [entry for entry in _entries(obj) if entry.get("manager") != manager]
    return [(str(entry.get("manager", "")), entry.get("fieldsV1") or {}) for entry in others]


def lost_fields(desired: Json, ours: Json, others: Owners = ()) -> tuple[LostField, ...]:
    """Return the fields of `desired` that are not in `ours`. `others`: to name their writers."""
    given = {name: value for name, value in desired.items() if name not in _NOT_OWNED}
    if metadata := {name: desired["metadata"][name] for name in _METADATA if name in desired["metadata"]}:
        given["metadata"] = metadata
    return tuple(_lost(given, ours or {".": {}}, others, ""))


def as_applied(obj: Json, manager: str) -> list[Json]:
    """Return `managedFields` in which all fields of `manager` come from server-side apply.

    Server-side apply removes a field that is no longer desired only if an earlier apply set it, not a creation.
    """
    all_entries: list[Json] = obj["metadata"].get("managedFields") or []
    ours = [entry for entry in _entries(obj) if entry.get("manager") == manager]
    if all(entry.get("operation") == "Apply" for entry in ours):
        return all_entries
    merged = {**ours[0], "operation": "Apply", "fieldsV1": our_fields(obj, manager)}
    return [merged, *(entry for entry in all_entries if entry not in ours)]


def _entries(obj: Json) -> list[Json]:
    """Entries of the object itself: those of `status` and of `scale` have a subresource."""
    entries = obj["metadata"].get("managedFields") or []
    return [entry for entry in entries if entry.get("subresource") in {None, "", "scale"}]


def _union(fields: Json, more: Json) -> Json:
    return fields | {
        name: _union(fields[name], part) if isinstance(fields.get(name), dict) else part for name, part in more.items()
    }


def _lost(value: object, ours: Json | None, others: Owners, path: str) -> Iterator[LostField]:
    if value is None:
        return
    if ours is None:
        yield LostField(path, next((writer for writer, _ in others), ""))
    elif not ours:
        return  # owned as a whole
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _part(part, f"f:{name}", ours, others, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            name = _item_name(item, (ours, *(owned for _, owned in others)))
            yield from _part(item, name, ours, others, f"{path}[{_label(item, number)}]")


def _part(value: object, name: str, ours: Json, others: Owners, path: str) -> Iterator[LostField]:
    parts = [(writer, owned[name]) for writer, owned in others if name in owned]
    yield from _lost(value, ours.get(name), parts, path)


def _item_name(item: object, owned: Sequence[Json]) -> str:
    """The name of a list's item in the fields that someone owns; empty if none has it."""
    names = (name for fields in owned for name in fields)
    return next((name for name in names if _names(name, item)), "")


def _names(name: str, item: object) -> bool:
    prefix, _, text = name.partition(":")
    if prefix == "v":
        return bool(json.loads(text) == item)
    if prefix != "k" or not isinstance(item, Mapping):
        return False
    keys: Mapping[str, Any] = json.loads(text)
    return all(item.get(field, value) == value for field, value in keys.items())  # an absent field has its default


def _label(item: object, number: int) -> object:
    return item.get("name", number) if isinstance(item, Mapping) else number
