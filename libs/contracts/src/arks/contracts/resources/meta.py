"""What all kinds share: metadata, status with conditions, and the base classes of resources."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar, cast, get_args

from pydantic import Field, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from arks.contracts.resources.schema import (
    LABEL_PATTERN,
    MAX_LABEL_LENGTH,
    MAX_NAME_LENGTH,
    STORED,
    SUBDOMAIN_PATTERN,
    ApiModel,
    Count64,
    Passthrough,
    Timestamp,
    readable_part,
)

GROUP = "arks.ai"
VERSION = "v1"
DEFAULT_NAMESPACE = "default"
KIND = "Kind of the resource."
SPEC = "Desired state."


class OwnerReference(ApiModel):
    """The object whose deletion deletes this one."""

    api_version: str = Field(description="API version of the owner.")
    kind: str = Field(description="Kind of the owner.")
    name: str = Field(description="Name of the owner.")
    uid: str = Field(description="UID of the owner.")
    controller: bool | None = Field(default=None, description="Whether the owner is the managing controller.")
    block_owner_deletion: bool | None = Field(
        default=None, description="Whether this object holds up its owner's deletion."
    )


class ObjectMeta(ApiModel):
    """Metadata of an object, as in Kubernetes."""

    name: str = Field(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        pattern=SUBDOMAIN_PATTERN,
        description="Name, unique in kind and namespace.",
    )
    namespace: str = Field(
        default=DEFAULT_NAMESPACE,
        min_length=1,
        max_length=MAX_LABEL_LENGTH,
        pattern=LABEL_PATTERN,
        description="Namespace; for tokens and quotas it is the tenant.",
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Labels, to select by.")
    annotations: dict[str, str] = Field(
        default_factory=dict, description="Annotations: free text for people and tools."
    )
    generation: Count64 | None = Field(default=None, description="Counts the changes of spec. Set by the server.")
    resource_version: str | None = Field(default=None, description="Version of the whole object. Set by the server.")
    uid: str | None = Field(default=None, description="Unique over time. Set by the server.")
    creation_timestamp: Timestamp | None = Field(default=None, description="When it was created. Set by the server.")
    deletion_timestamp: Timestamp | None = Field(
        default=None, description="When deletion was requested. Set by the server."
    )
    deletion_grace_period_seconds: Count64 | None = Field(default=None, description="Grace period. Set by the server.")
    finalizers: list[str] = Field(
        default_factory=list, description="Controllers that have to clean up before the object is deleted."
    )
    owner_references: list[OwnerReference] = Field(default_factory=list, description="Objects that own this one.")
    generate_name: str | None = Field(default=None, description="Prefix of a generated name. Tolerated.")
    self_link: str | None = Field(default=None, description="Tolerated; no longer used by Kubernetes.")
    managed_fields: list[Passthrough] = Field(
        default_factory=list, description="Who set which field. Set by the server.", repr=False
    )


class ConditionStatus(StrEnum):
    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One observed aspect of a resource."""

    type: str = Field(min_length=1, max_length=316, description="Aspect, CamelCase.")
    status: Annotated[ConditionStatus, Field(strict=False)] = Field(description="True, False or Unknown.")
    last_transition_time: Timestamp = Field(description="When `status` last changed.")
    reason: str = Field(default="", max_length=1024, description="Reason as one CamelCase word, for programs.")
    message: str = Field(default="", max_length=32768, description="Explanation for people.")
    observed_generation: Count64 | None = Field(
        default=None, description="`metadata.generation` that this condition describes."
    )


Conditions = Annotated[
    list[Condition],
    Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]
"""One condition a type."""


class Status(ApiModel):
    """What the status of every kind holds."""

    condition_types: ClassVar[tuple[str, ...]] = ()
    """The conditions that the owner sets."""

    observed_generation: Count64 | None = Field(
        default=None, description="`metadata.generation` that this status describes."
    )
    conditions: Conditions = Field(default_factory=list, description="Conditions, one a type.")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = super().__get_pydantic_json_schema__(core, handler)
        schema["properties"]["conditions"]["description"] = f"{', '.join(cls.condition_types)}."
        return schema


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """A column of `kubectl get`."""

    name: str
    json_path: str
    type: str = "string"
    wide: bool = False
    """Shown with `-o wide` only."""


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the scale subresource finds its numbers."""

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    label_selector: str = ".status.selector"


AGE = PrinterColumn("Age", ".metadata.creationTimestamp", "date")
READY = PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status')
READY_WIDE = replace(READY, wide=True)
REASON = PrinterColumn("Reason", '.status.conditions[?(@.type=="Ready")].reason', wide=True)
WHY = PrinterColumn("Why", '.status.conditions[?(@.type=="Ready")].message', wide=True)
"""The explanation of Ready."""


class Resource(ApiModel):
    """An object that people apply: the part that all kinds have."""

    group: ClassVar[str] = GROUP
    version: ClassVar[str] = VERSION
    plural: ClassVar[str]
    singular: ClassVar[str]
    short_names: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[PrinterColumn, ...]] = ()
    scale: ClassVar[ScalePaths | None] = None

    api_version: str = Field(description="Group and version.")
    kind: str = Field(description="Kind of the resource.")
    metadata: ObjectMeta = Field(description="Name, namespace, labels.")

    @property
    def key(self) -> str:
        """`<namespace>/<name>`."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Check plain data as in YAML. Raises pydantic's ValidationError, whose locations are the fields' paths."""
        return cls.model_validate(data, by_alias=True, by_name=False)

    @classmethod
    def from_stored(cls, data: dict[str, Any]) -> Self:
        """Read an object from a server that may be newer: unknown fields are kept and are not errors."""
        return cls.model_validate(data, by_alias=True, by_name=False, extra="allow", context=STORED)


SpecT = TypeVar("SpecT", bound=ApiModel)
StatusT = TypeVar("StatusT", bound=Status)


class CustomResource(Resource, Generic[SpecT, StatusT]):
    """A kind of Arks itself: one with a CRD."""

    api_version: Literal["arks.ai/v1"] = Field(default="arks.ai/v1", description="Group and version.")
    spec: SpecT = Field(description=SPEC)
    status: StatusT | None = Field(default=None, description="Observed state.")

    @classmethod
    def from_stored(cls, data: dict[str, Any]) -> Self:
        """As of Resource. A status never makes an object unreadable: what a newer version wrote is left out of it."""
        try:
            return super().from_stored(data)
        except ValidationError as error:
            if not any(finding["loc"][:1] == ("status",) for finding in error.errors(include_input=False)):
                raise
        status = cls._readable_status(data["status"])
        return super().from_stored(data | {"status": status})

    @classmethod
    def read_status(cls, data: object) -> StatusT | None:
        """A stored status, as far as this version can read it."""
        if data is None:
            return None
        return cls._status_type().model_validate(
            cls._readable_status(data), by_alias=True, by_name=False, extra="allow", context=STORED
        )

    @classmethod
    def _readable_status(cls, data: object) -> dict[str, Any]:
        """Without `observedGeneration` if a part is left out, so that the owner writes the whole status again."""
        readable = readable_part(cls._status_type(), data)
        return readable if readable == data else {**readable, "observedGeneration": None}

    @classmethod
    def _status_type(cls) -> type[StatusT]:
        found = next(part for part in get_args(cls.model_fields["status"].annotation) if part is not type(None))
        return cast("type[StatusT]", found)
