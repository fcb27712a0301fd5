"""`arks fields`: one level of a JSON schema as text. Pure."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 90

Schema = Mapping[str, Any]


class UnknownField(Exception):
    """The path leads to no field."""

    def __init__(self, field: str, known: Sequence[str]) -> None:
        super().__init__(field)
        self.field = field
        self.known = known


def as_text(root: Schema, kind: str, path: str) -> str:
    """The field at a path like `spec.source`, with its type, its description and the fields in it.

    Raises UnknownField.
    """
    schema: Schema = root
    for field in [part for part in path.split(".") if part]:
        properties = _resolved(schema, root).get("properties", {})
        if field not in properties:
            raise UnknownField(field, list(properties))
        schema = properties[field]
    found = _resolved(schema, root)
    title = f"{kind}.{path}" if path else kind
    lines = [f"{title} <{_type(schema, root)}>"]
    lines += [_indented(schema.get("description") or found.get("description") or "", "  ")]
    if fields := found.get("properties", {}):
        lines += ["", "FIELDS"]
        for name, field in fields.items():
            required = " required" if name in found.get("required", ()) else ""
            lines += [
                f"  {name} <{_type(field, root)}>{required}{_default(field)}",
                _indented(_text(field, root), "    "),
            ]
    return "".join(f"{line}\n" for line in lines)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema behind references, optional values and lists."""
    if "$ref" in schema:
        return _resolved(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for choices in (schema.get("anyOf"), schema.get("allOf")):
        useful = [choice for choice in choices or () if choice.get("type") != "null"]
        if useful:
            return _resolved(useful[0], root)
    if schema.get("type") == "array" and isinstance(schema.get("items"), Mapping):
        return _resolved(schema["items"], root)
    return schema


def _type(schema: Schema, root: Schema) -> str:
    if schema.get("type") == "array":
        return f"[]{_type(schema.get('items', {}), root)}"
    for choices in (schema.get("anyOf"), schema.get("allOf")):
        useful = [choice for choice in choices or () if choice.get("type") != "null"]
        if useful:
            return _type(useful[0], root)
    found = _resolved(schema, root) if "$ref" in schema else schema
    if values := found.get("enum"):
        return "|".join(str(value) for value in values if value != "")
    return str(found.get("type", "any"))


def _text(field: Schema, root: Schema) -> str:
    return str(field.get("description") or _resolved(field, root).get("description") or "")


def _default(field: Schema) -> str:
    default = field.get("default")
    return "" if default in (None, [], {}, "") else f" default {default}"


def _indented(text: str, indent: str) -> str:
    return textwrap.fill(" ".join(text.split()), _WIDTH, initial_indent=indent, subsequent_indent=indent)
