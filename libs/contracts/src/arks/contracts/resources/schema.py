"""What every type of a resource is built on: camelCase names, strict values, errors that carry the path of the field.

Rules between fields are written once, as a `Rule`: the check in Python and the same check in CEL, for the CRD, stand
side by side.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

Location = tuple[str | int, ...]
"""Path of a field as in YAML: ("spec", "qos", 0, "arksEndpoint")."""

LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
"""DNS label (RFC 1123), as Kubernetes requires for names of Services."""
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
"""DNS subdomain: labels joined by dots, as Kubernetes requires for names of objects."""
MAX_LABEL_LENGTH = 63
STORED = {"stored": True}
"""Context of a validation of stored objects."""
MAX_NAME_LENGTH = 253


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule between fields of one type."""

    message: str
    """For people; the same in Python and in the API server."""
    broken_at: Callable[[Any], Location | None]
    """Where the value breaks the rule, relative to the value; None when it holds."""
    cel: str | None = None
    """The rule in CEL over `self`; None where an API server cannot check it."""
    new_only: bool = False
    """Objects that are stored already may break it, because earlier versions accepted them."""


class ApiModel(BaseModel):
    """Base of all types in a resource. Immutable; unknown fields are errors; `None` in input means absent."""

    model_config = ConfigDict(
        defer_build=True,  # a program builds validators of the kinds that it reads: all take 6 MB and 0.1 s a start
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
        strict=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict) and None in data.values():
            return {key: value for key, value in data.items() if value is not None}
        return data

    @model_validator(mode="after")
    def _check_rules(self, info: ValidationInfo) -> Self:
        stored = bool(info.context and info.context.get("stored"))
        broken = [
            InitErrorDetails(
                type=PydanticCustomError("rule", "{message}", {"message": rule.message}), loc=at, input=None
            )
            for rule in self.rules
            if not (stored and rule.new_only) and (at := rule.broken_at(self)) is not None
        ]
        if broken:
            raise ValidationError.from_exception_data(type(self).__name__, broken, hide_input=True)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Adds what an API server reads: the rules in CEL, and defaults that are made rather than constant."""
        schema = handler.resolve_ref_schema(handler(core))
        for name, field in cls.model_fields.items():
            if (
                isinstance(made := field.get_default(call_default_factory=True, validated_data={}), (ApiModel, list))
                and made
            ):
                schema["properties"][field.alias or name]["default"] = _plain(made)
        if validations := [{"rule": rule.cel, "message": rule.message} for rule in cls.rules if rule.cel]:
            schema["x-kubernetes-validations"] = validations
        return schema

    @model_serializer(mode="wrap")
    def _drop_empty(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Drop empty lists and maps from YAML, where they are noise. A patch keeps them: it must empty fields."""
        dumped: dict[str, Any] = handler(self) | (self.model_extra or {})
        if not (info.context and info.context.get("compact")):
            return dumped
        return {key: value for key, value in dumped.items() if value or key not in self._collections()}

    @classmethod
    @cache
    def _collections(cls) -> frozenset[str]:
        """Names, in YAML, of the fields that are lists or maps and empty unless given."""
        return frozenset(
            field.alias or name for name, field in cls.model_fields.items() if field.default_factory in (list, dict)
        )

    def to_dict(self, *, reveal_secrets: bool = False) -> dict[str, Any]:
        """Plain data as in YAML: without absent fields and empty lists. Secret values are asterisks unless revealed."""
        context = {"reveal": reveal_secrets, "compact": True}
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, context=context)


def text_or_object(name: str, model: type[ApiModel]) -> dict[str, Any]:
    """The schema of a field that is an object, or text that stands for the object's field `name`.

    A CRD has no unions, but each of its checks concerns values of one type only and lets others pass: `pattern` text,
    `required` objects. A field without a type takes both; the remaining types get checks that nothing can pass.
    """
    made = model.model_json_schema(by_alias=True)
    properties = {
        field: {key: value for key, value in schema.items() if key not in {"default", "title"}}
        for field, schema in made["properties"].items()
    }
    text = {key: properties[name][key] for key in ("minLength", "maxLength", "pattern")}
    no_number, no_list = {"minimum": 1, "maximum": 0}, {"minItems": 1, "maxItems": 0}
    return {
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": properties,
        "required": made["required"],
        **text,
        **no_number,
        **no_list,
        "not": {"enum": [True, False]},
    }


def readable_part(model: type[ApiModel], data: object) -> dict[str, Any]:
    """Stored data without the fields, and without the entries of lists, that the model cannot read."""
    readable: dict[str, Any] = dict(data) if isinstance(data, dict) else {}
    for _ in range(len(readable)):
        try:
            model.model_validate(readable, by_alias=True, by_name=False, extra="allow", context=STORED)
        except ValidationError as error:
            _drop(readable, {finding["loc"] for finding in error.errors(include_url=False, include_input=False)})
        else:
            return readable
    return {}


def _drop(data: dict[str, Any], at: set[Location]) -> None:
    for name in {location[0] for location in at if location}:
        entries = {location[1] for location in at if location[0] == name and len(location) > 1}
        if isinstance(data.get(str(name)), list) and entries:
            data[str(name)] = [entry for number, entry in enumerate(data[str(name)]) if number not in entries]
        else:
            data.pop(str(name), None)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.to_dict() if isinstance(value, ApiModel) else value


def duplicate_at(items: Iterable[Hashable | None]) -> int | None:
    """Position of the first repeated item; `None` items are ignored."""
    seen: set[Hashable] = set()
    for position, item in enumerate(items):
        if item is not None and item in seen:
            return position
        seen.add(item)
    return None


def differ(first: object, second: object) -> bool:
    """Whether both spellings of a field are given with different values."""
    return first is not None and second is not None and first != second


def _parse_time(value: object) -> object:
    """Kubernetes' times are RFC 3339 in whole seconds."""
    if isinstance(value, str) and "T" in value.upper():
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value


def _format_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


Timestamp = Annotated[
    AwareDatetime,
    BeforeValidator(_parse_time),
    PlainSerializer(_format_time, return_type=str, when_used="json"),
]
"""RFC 3339 with a time zone; written in UTC, whole seconds."""

Passthrough = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""A Kubernetes object that is passed on unchanged; the API server validates it when the child is created."""

Int32 = Annotated[int, Field(ge=-(2**31), le=2**31 - 1, json_schema_extra={"format": "int32"})]
Count32 = Annotated[int, Field(ge=0, le=2**31 - 1, json_schema_extra={"format": "int32"})]
Count64 = Annotated[int, Field(ge=0, le=2**63 - 1, json_schema_extra={"format": "int64"})]
Port = Annotated[int, Field(ge=1, le=65535, json_schema_extra={"format": "int32"})]
ObjectName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=SUBDOMAIN_PATTERN)]
"""Name of another object."""
