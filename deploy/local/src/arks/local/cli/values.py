"""Values of options and arguments without pydantic, whose import takes longer than most commands.

typer checks every value with pydantic. Most need no check: text, a flag, a number in digits, a name of an enum. Those
are passed on here; all others, and all errors, stay typer's.
"""

from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

import typer.core
from typer._coercion import RuntimeParam, TypeDescriptor, build_runtime_param

UNSURE: Any = object()
"""The value may be wrong, or it needs more than its text."""


def plain_value(value: Any, annotation: Any) -> Any:
    """The value as its type, or UNSURE."""
    if get_origin(annotation) is list and isinstance(value, list | tuple):
        (item,) = get_args(annotation)
        values = [plain_value(each, item) for each in value]
        return UNSURE if any(each is UNSURE for each in values) else values
    return _plain_scalar(value, annotation) if isinstance(annotation, type) else UNSURE


def _plain_scalar(value: Any, annotation: type) -> Any:
    if issubclass(annotation, Enum):
        return next((member for member in annotation if value is member or value == member.value), UNSURE)
    if annotation in {str, bool, float, int} and type(value) is annotation:
        return value
    if annotation in {int, float} and isinstance(value, str) and value.isascii() and value.isdigit():
        return annotation(value)
    return Path(value) if annotation is Path and isinstance(value, str | Path) else UNSURE


class _Plain(RuntimeParam):
    """Passes plain values on."""

    def _coerce_value(self, value: Any, param: Any, ctx: Any) -> Any:
        found = UNSURE if _is_checked(self.parameter_info) else plain_value(value, self.annotation)
        if found is not UNSURE:
            return found
        descriptor = TypeDescriptor(self.annotation, self.parameter_info, None)
        return build_runtime_param(descriptor)._coerce_value(value, param=param, ctx=ctx)


def _is_checked(info: Any) -> bool:
    """Whether an option has rules besides its type."""
    return any((info.parser, info.min is not None, info.max is not None, info.exists, info.resolve_path)) or not (
        info.dir_okay and info.file_okay
    )


def _build(descriptor: TypeDescriptor) -> RuntimeParam:
    if descriptor.file_annotation is not None:
        return build_runtime_param(descriptor)
    return _Plain(annotation=descriptor.annotation, parameter_info=descriptor.parameter_info)


def install() -> None:
    """Let the parser use this module. Without effect if typer is built in another way."""
    if hasattr(typer.core, "build_runtime_param"):
        typer.core.build_runtime_param = _build
