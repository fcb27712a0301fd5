"""The page on all fields of all resources, generated from the models."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from arks.contracts.manifests.messages import nested_model
from arks.contracts.resources import (
    CUSTOM_KINDS,
    KINDS,
    MAX_APPLICATION_NAME_LENGTH,
    MAX_LABEL_LENGTH,
    ApiModel,
    PrinterColumn,
    Resource,
)
from tools.generate.crds import Schema, structural

_INT32_MAX = 2**31 - 1
_FRAME = ("apiVersion", "kind", "metadata")

_INTRODUCTION = """# Resources

<!-- Generated from libs/contracts by `python -m tools.generate`: change the models, not this page. -->

What people apply. The group is `arks.ai`, the version `v1`; every resource has a namespace (`default` unless given).
On one machine `arks apply -f` takes the same manifests as `kubectl apply -f` takes on Kubernetes, plus the Secrets they
refer to. Unknown fields are errors. Where a field has an old spelling, either may be given, or both with
the same value.
"""

_DIFFERENCES = f"""## For those who come from the Go implementation

Manifests that worked with `arks.ai/v1` up to v0.2 are taken as they are, with the exceptions of this list:

- `spec.replicas` of an ArksApplication is 1 where it is absent; it was 0. Write 0 to park an application.
- Fields that were dropped in silence (`extraOptions`, `driver`, `instanceSpec.replicas`, a quota's `name`) work again
  as old spellings; unknown fields are errors.
- Checked at once rather than later or never: `runtime`, negative replicas, a `size` of 0, reserved volumes and mount
  paths (now with paths under /models), duplicates, `podGroupPolicy` with two schedulers, an empty `source: {{}}`.
- Names of applications have at most {MAX_APPLICATION_NAME_LENGTH} characters and no dots: they become part of a
  Service's name. Those of models have at most {MAX_LABEL_LENGTH}: they become a label's value.
- `storage` of an ArksModel and `gatewayRef` of an ArksEndpoint may be absent.
"""


def reference_page() -> str:
    """The whole page, Markdown."""
    known: dict[type[BaseModel], str] = {}
    sections = [_INTRODUCTION, _overview()]
    for resource in KINDS.values():
        sections.append(_kind_section(resource))
        sections += [_type_section(model, known) for model in _new_types(resource, known)]
    return "\n".join([*sections, _DIFFERENCES])


def _overview() -> str:
    rows = [
        f"| {_link(resource)} | `{resource.plural}` | {_short(resource)} | {_doc(resource)} |"
        for resource in KINDS.values()
    ]
    return "| kind | plural | short | what it is |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _short(resource: type[Resource]) -> str:
    return ", ".join(f"`{name}`" for name in resource.short_names)


def _kind_section(resource: type[Resource]) -> str:
    lines = [f"## {resource.__name__}", "", _doc(resource), ""]
    if resource.columns:
        lines += [f"`kubectl get {resource.plural}` shows {_columns(resource.columns)}.", ""]
    if resource.scale is not None:
        lines += [f"`kubectl scale` and autoscalers set `{resource.scale.spec_replicas.removeprefix('.')}`.", ""]
    return "\n".join([*lines, *_rules(resource)])


def _columns(columns: tuple[PrinterColumn, ...]) -> str:
    always = ", ".join(column.name for column in columns if not column.wide)
    wide = ", ".join(column.name for column in columns if column.wide)
    return f"{always}; with `-o wide` also {wide}" if wide else always


def _new_types(resource: type[Resource], known: dict[type[BaseModel], str]) -> Iterator[type[ApiModel]]:
    """The types of a kind, outermost first, that no kind before has shown."""
    waiting: list[type[BaseModel]] = [resource]
    while waiting:
        model = waiting.pop(0)
        if model in known or not issubclass(model, ApiModel):
            continue
        known[model] = model.__name__
        yield model
        fields = [] if model is resource else list(model.model_fields.values())
        if model is resource:
            fields = [field for name, field in model.model_fields.items() if (field.alias or name) not in _FRAME]
        waiting += [nested for field in fields if (nested := nested_model(field.annotation)) is not None]


def _type_section(model: type[ApiModel], known: dict[type[BaseModel], str]) -> str:
    generated = model.model_json_schema(by_alias=True)
    schema = structural(generated, generated.get("$defs", {}))
    rows = [
        _row(field.alias or name, field.annotation, schema, is_required=field.is_required())
        for name, field in model.model_fields.items()
        if not (issubclass(model, Resource) and (field.alias or name) in _FRAME)
    ]
    table = "| field | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    if issubclass(model, Resource):
        return table
    return "\n".join([f"### {model.__name__}", "", _doc(model), "", table, *_rules(model)])


def _rules(model: type[ApiModel]) -> list[str]:
    return [*(f"- {rule.message}" for rule in model.rules), ""] if model.rules else []


def _row(name: str, annotation: Any, owner: Schema, *, is_required: bool) -> str:
    schema = owner["properties"][name]
    default = "required" if is_required else _default(schema)
    return f"| `{name}` | {_cell(_type(schema, annotation))} | {default} | {_cell(schema.get('description', ''))} |"


def _default(schema: Schema) -> str:
    if "default" not in schema:
        return ""
    value = schema["default"]
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "see its fields" if isinstance(value, dict) else f"`{_cell(_compact(value))}`"


def _compact(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_compact(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_compact(item)}" for key, item in value.items()) + "}"
    return str(value)


def _type(schema: Schema, annotation: Any) -> str:
    """The type in words, with its limits."""
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_type(schema['items'], annotation)}"
    if kind == "object":
        return _object(schema, annotation)
    if kind == "string" and "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"] if choice)
    if schema.get("format") == "date-time":
        return "time"
    if kind is None:  # the one field that takes two types
        return f"text or {_link(annotation)}"
    return _SCALARS[kind] + _limits(schema)


_SCALARS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def _object(schema: Schema, annotation: Any) -> str:
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'], None)}"
    return _link(annotation) if nested_model(annotation) else "Kubernetes object"


def _link(annotation: Any) -> str:
    nested = nested_model(annotation)
    return f"[{nested.__name__}](#{nested.__name__.lower()})" if nested else "text"


def _limits(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if high == _INT32_MAX:
        high = None  # no real value comes near it
    if low is not None and low < 0:
        low = None
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", at least {low}" if low is not None else ""


def _doc(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def undescribed_fields() -> list[str]:
    """Fields without a description: there should be none."""
    found: list[str] = []
    known: dict[type[BaseModel], str] = {}
    for resource in CUSTOM_KINDS:
        for model in _new_types(resource, known):
            found += [f"{model.__name__}.{name}" for name, field in model.model_fields.items() if not field.description]
    return found
