"""ArksModel: the files of a model, their source and their storage."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from arks.contracts.resources.instance import ArksInstanceSpec, ImagePullSecret
from arks.contracts.resources.meta import AGE, KIND, READY_WIDE, REASON, WHY, CustomResource, PrinterColumn, Status
from arks.contracts.resources.model_source import ModelSource
from arks.contracts.resources.schema import (
    MAX_LABEL_LENGTH,
    ApiModel,
    Count32,
    Count64,
    Location,
    ObjectName,
    Passthrough,
    Rule,
    Timestamp,
)

SUB_PATH_PATTERN = r"^[A-Za-z0-9._@+=:,-]+(/[A-Za-z0-9._@+=:,-]+)*/?$"
"""A relative path without blanks and shell characters, because it is used in command lines."""


class ModelPhase(StrEnum):
    PENDING = "Pending"
    STORAGE_CREATING = "StorageCreating"
    MODEL_LOADING = "ModelLoading"
    READY = "Ready"
    FAILED = "Failed"


class PvcStorage(ApiModel):
    """A PersistentVolumeClaim; an existing one is adopted unchanged."""

    name: ObjectName | None = Field(default=None, description="Name of the PVC; default is the model's name.")
    spec: Passthrough = Field(description="PersistentVolumeClaimSpec, used if the PVC has to be created.")


class FluidRuntime(ApiModel):
    """What caches a Dataset of Fluid."""

    kind: Literal["AlluxioRuntime", "JuiceFSRuntime", "JindoRuntime", "GooseFSRuntime", "EFCRuntime", "ThinRuntime"] = (
        Field(description="Kind of the Runtime.")
    )
    spec: Passthrough = Field(default_factory=dict, description="Its spec, as Fluid has it.")


class FluidStorage(ApiModel):
    """A Dataset of Fluid, which holds the files: it is created with its Runtime, and makes the PVC."""

    mounts: list[Passthrough] = Field(
        min_length=1, max_length=16, description="`spec.mounts` of the Dataset, as Fluid has them."
    )
    runtime: FluidRuntime = Field(description="The Runtime that caches it.")
    load: bool = Field(
        default=False, description="Whether a DataLoad reads the model into the cache before the model is ready."
    )


def _pvc_and_fluid(storage: "ModelStorage") -> Location | None:
    return ("fluid",) if storage.pvc is not None and storage.fluid is not None else None


def _fluid_without_path(storage: "ModelStorage") -> Location | None:
    return ("subPath",) if storage.fluid is not None and storage.sub_path is None else None


def _escapes_storage(storage: "ModelStorage") -> Location | None:
    return ("subPath",) if storage.sub_path and ".." in storage.sub_path.split("/") else None


class ModelStorage(ApiModel):
    """Storage of the model's files."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="subPath must not hold '..'",
            broken_at=_escapes_storage,
            cel=r"!has(self.subPath) || !self.subPath.matches('(^|/)[.][.](/|$)')",
        ),
        Rule(
            message="give pvc or fluid, not both",
            broken_at=_pvc_and_fluid,
            cel="!(has(self.pvc) && has(self.fluid))",
        ),
        Rule(
            message="fluid needs subPath: the model's directory in the Dataset, which begins with a mount's name",
            broken_at=_fluid_without_path,
            cel="!has(self.fluid) || has(self.subPath)",
        ),
    )

    pvc: PvcStorage | None = Field(default=None, description="PersistentVolumeClaim. Kubernetes only.")
    fluid: FluidStorage | None = Field(
        default=None, description="Dataset of Fluid that already holds the files. Kubernetes only."
    )
    sub_path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        pattern=SUB_PATH_PATTERN,
        description="Path inside the storage; default `models/<namespace>/<name>`.",
    )


class ModelCache(ApiModel):
    """Copies of the model on local disks of nodes, from which engines load it."""

    node_selector: dict[str, str] = Field(
        default_factory=dict,
        description="Labels of the nodes that keep a copy; absent: any node with an agent.",
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )
    nodes: int | None = Field(default=None, ge=1, le=10_000, description="How many nodes; absent: all of them.")
    keep_until: Timestamp | None = Field(
        default=None, description="Copies are removed then, as their space is needed; absent: they stay."
    )


def _source_and_fluid(spec: "ArksModelSpec") -> Location | None:
    fluid = spec.storage is not None and spec.storage.fluid is not None
    return ("source",) if fluid and spec.source is not None else None


class ArksModelSpec(ApiModel):
    """Which model, its source and its storage."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="storage.fluid holds the files, and nothing is downloaded into it: omit source",
            broken_at=_source_and_fluid,
            cel="!(has(self.source) && has(self.storage) && has(self.storage.fluid))",
        ),
    )

    model: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$",
        description="Repository on the hub: `Qwen/Qwen2.5-7B-Instruct`.",
    )
    source: ModelSource | None = Field(
        default=None, description="Source of the files. Absent: the storage already holds them."
    )
    storage: ModelStorage | None = Field(
        default=None,
        description=(
            "Storage of the files. Absent: on Kubernetes an existing PVC of the model's name, "
            "on one machine Arks' own directory."
        ),
    )
    image_pull_secrets: list[ImagePullSecret] = Field(
        default_factory=list, description="Registry credentials of the download worker's image."
    )
    instance_spec: ArksInstanceSpec | None = Field(default=None, description="How the download worker's pod runs.")
    cache: ModelCache | None = Field(
        default=None,
        description="Copies on local disks of nodes. Kubernetes only, where `nodeCache` of the chart is enabled.",
    )


class DownloadProgress(ApiModel):
    """Download progress."""

    done_bytes: Count64 = Field(default=0, description="Bytes on disk.")
    total_bytes: Count64 | None = Field(default=None, description="Total bytes; absent until known.")
    percent: float | None = Field(default=None, ge=0, le=100, strict=False, description="Share that is done.")
    bytes_per_second: Count64 | None = Field(default=None, description="Speed of the last seconds.")
    remaining_seconds: Count64 | None = Field(default=None, description="Expected time to the end.")


class ModelMemory(ApiModel):
    """What the model takes of an engine's memory, from its configuration."""

    weights_bytes: Count64 = Field(description="Model weights.")
    kv_cache_bytes_per_token: Count64 | None = Field(
        default=None, description="KV cache of one token in 16 bits; absent if the configuration does not show it."
    )
    context_tokens: Count64 | None = Field(default=None, description="Longest context that the model was made for.")


class CopyPhase(StrEnum):
    """Of a copy on a node."""

    WAITING = "Waiting"
    """It has no source yet: another node fills first."""
    FILLING = "Filling"
    COMPLETE = "Complete"
    FAILED = "Failed"
    """Retried; the message has the reason."""


class NodeCopy(ApiModel):
    """A copy of the model on one node."""

    node: str = Field(description="Name of the node.")
    phase: Annotated[CopyPhase, Field(strict=False)] = Field(description="How far it is.")
    done_bytes: Count64 = Field(default=0, description="Bytes on the node's disk.")
    total_bytes: Count64 | None = Field(default=None, description="Total bytes; absent until known.")
    message: str | None = Field(default=None, description="Why it failed or waits.")


class ModelCacheStatus(ApiModel):
    """Copies on nodes."""

    nodes: Count32 = Field(default=0, description="Nodes that keep a copy.")
    complete: Count32 = Field(default=0, description="Of these, how many have all of it.")
    copies: list[NodeCopy] = Field(default_factory=list, description="Of the first 100 nodes, those with faults first.")


class ArksModelStatus(Status):
    """Observed state, written by model-manager."""

    condition_types: ClassVar[tuple[str, ...]] = ("StorageCreated", "ModelLoaded", "Ready")

    phase: Annotated[ModelPhase, Field(strict=False)] = Field(
        default=ModelPhase.PENDING, description="Progress to Ready."
    )
    progress: DownloadProgress | None = Field(default=None, description="Progress of the current or last download.")
    path: str | None = Field(default=None, description="Directory or file that engines load.")
    size_bytes: Count64 | None = Field(default=None, description="Size of all files.")
    file_count: Count64 | None = Field(default=None, description="Number of files.")
    sha256: str | None = Field(default=None, description="Digest of the file, if there is only one.")
    revision: str | None = Field(default=None, description="Commit that was downloaded.")
    memory: ModelMemory | None = Field(
        default=None, description="Memory that engines need, from config.json or the GGUF header; absent if unknown."
    )
    cache: ModelCacheStatus | None = Field(default=None, description="Copies on nodes, if `spec.cache` wants some.")


class ArksModel(CustomResource[ArksModelSpec, ArksModelStatus]):
    """A model's files, downloaded once and shared between applications."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message=f"metadata.name must have at most {MAX_LABEL_LENGTH} characters: it becomes a label's value",
            broken_at=lambda model: ("metadata", "name") if len(model.name) > MAX_LABEL_LENGTH else None,
            cel=f"self.metadata.name.size() <= {MAX_LABEL_LENGTH}",
        ),
    )
    plural: ClassVar[str] = "arksmodels"
    singular: ClassVar[str] = "arksmodel"
    short_names: ClassVar[tuple[str, ...]] = ("am",)
    columns: ClassVar[tuple[PrinterColumn, ...]] = (
        AGE,
        PrinterColumn("Model", ".spec.model"),
        PrinterColumn("Phase", ".status.phase"),
        PrinterColumn("Path", ".status.path", wide=True),
        READY_WIDE,
        REASON,
        WHY,
    )

    kind: Literal["ArksModel"] = Field(default="ArksModel", description=KIND)
