"""Validation errors as plain sentences about a field. Values are shown only for fields with few choices."""

import difflib
import types
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from arks.contracts.resources.application import SERVED_NAME_PATTERN
from arks.contracts.resources.model import SUB_PATH_PATTERN
from arks.contracts.resources.schema import LABEL_PATTERN, SUBDOMAIN_PATTERN, Location

MAX_SHOWN_CHARACTERS = 60

_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_PATTERNS = {
    LABEL_PATTERN: "must be small letters, digits and '-', with a letter or digit at both ends",
    SUBDOMAIN_PATTERN: "must be small letters, digits, '-' and '.', with a letter or digit at both ends",
    r"^/": "must be an absolute path",
    SUB_PATH_PATTERN: "must be a relative path of letters, digits and . _ @ + = : , -",
    r"^[A-Za-z0-9][A-Za-z0-9._/-]*$": "must be letters, digits and . _ / -, with a letter or digit first",
    SERVED_NAME_PATTERN: "must be letters, digits and . _ : / @ -, with a letter or digit first",
    r"^[0-9a-f]{64}$": "must be 64 hexadecimal digits in small letters",
    r"^https?://[^\s/?#]+[^\s?#]*$": "must be a URL that starts with http:// or https://",
}


def field_path(at: Location) -> str:
    """`spec.qos[0].arksEndpoint.name`, as people write it."""
    path = ""
    for part in at:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be."""
    by_lower = {candidate.lower(): candidate for candidate in known if candidate}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def comma_separated(words: Iterable[str]) -> str:
    return ", ".join(words)


def preview(value: object) -> str:
    """A value for a message: short, one line."""
    text = str(value)
    cut = text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "..."
    return ascii(cut) if not cut.isprintable() else f"'{cut}'"


def sentence(error: ErrorDetails, resource: type[BaseModel]) -> str:
    """The error as a phrase that follows the field's name."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {_type_of(error['input'])}{_hint(kind, error['input'])}"
    if kind == "extra_forbidden":
        return _unknown_field(error["loc"], resource)
    if kind in {"literal_error", "enum"}:
        return _not_one_of(error["input"], _choices(error["loc"], resource))
    if "datetime" in kind or "timezone" in kind:
        return "must be a time with its zone, such as 2026-01-31T12:00:00Z"
    return _SENTENCES[kind](context) if kind in _SENTENCES else "is not valid"


_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda _: "is missing",
    "rule": lambda context: str(context["message"]).removeprefix("metadata.name "),
    "value_error": lambda context: str(context["error"]),
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "string_too_short": lambda _: "must not be empty",
    "string_too_long": lambda context: f"must have at most {context['max_length']} characters",
    "too_short": lambda context: f"must have at least {_entries(context['min_length'])}",
    "too_long": lambda context: f"must have at most {_entries(context['max_length'])}",
    "string_pattern_mismatch": lambda context: _PATTERNS.get(context["pattern"], f"must match {context['pattern']}"),
}


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _type_of(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, float) and not value.is_integer():
        return "a number with a fraction"
    for python_type, name in ((str, "text"), ((int, float), "a number"), (list, "a list"), (dict, "a mapping")):
        if isinstance(value, python_type):
            return name
    return "nothing"


def _hint(kind: str, value: object) -> str:
    """Quotes make text of a number, and their absence a number of text."""
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return " (put it in quotes)"
    if kind == "int_type" and isinstance(value, str) and value.strip().lstrip("+-").isdigit():
        return " (take the quotes away)"
    return ""


def _unknown_field(at: Location, resource: type[BaseModel]) -> str:
    parent = model_at(resource, at[:-1])
    if parent is None:
        return "unknown field"
    known = field_names(parent)
    if guess := closest(str(at[-1]), known):
        return f"unknown field, did you mean {guess}?"
    return f"unknown field; known here: {comma_separated(known)}" if len(known) <= 16 else "unknown field"


def _not_one_of(value: object, choices: list[str]) -> str:
    expectation = f"must be {choices[0]}" if len(choices) == 1 else f"must be one of {comma_separated(choices)}"
    if isinstance(value, (dict, list)):
        return f"{expectation}, not {_type_of(value)}"
    guess = closest(str(value), choices) if len(choices) > 1 else None
    return f"{expectation}, not {preview(value)}" + (f"; did you mean {guess}?" if guess else "")


def _choices(at: Location, resource: type[BaseModel]) -> list[str]:
    """Values that the field accepts, without the empty one, which means the same as an absent field."""
    parent = model_at(resource, at[:-1])
    if parent is None:
        return []
    annotation = next(
        field.annotation for name, field in parent.model_fields.items() if (field.alias or name) == at[-1]
    )
    return [choice for choice in _literals(annotation) if choice]


def _literals(annotation: Any) -> list[str]:
    if isinstance(annotation, type) and hasattr(annotation, "__members__"):
        return [str(member) for member in annotation]  # type: ignore[attr-defined]
    parts = get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        return [choice for part in parts for choice in _literals(part)]
    return [part for part in parts if isinstance(part, str)]


def field_names(model: type[BaseModel]) -> list[str]:
    """Names of the fields as in YAML."""
    return [field.alias or name for name, field in model.model_fields.items()]


def model_at(model: type[BaseModel], at: Location) -> type[BaseModel] | None:
    """The type that holds the fields at `at`; None inside objects that are passed on unchanged."""
    found: type[BaseModel] | None = model
    for part in at:
        if isinstance(part, int):
            continue
        annotations = {
            field.alias or name: field.annotation for name, field in (found.model_fields.items() if found else ())
        }
        found = nested_model(annotations.get(part))
    return found


def nested_model(annotation: Any) -> type[BaseModel] | None:
    """The model in `X | None`, `list[X]` and the like."""
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := nested_model(part))), None)
