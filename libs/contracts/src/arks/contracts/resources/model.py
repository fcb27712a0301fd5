"""ArksModel: the files of a model, their source and their storage."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from arks.contracts.resources.instance import ArksInstanceSpec, ImagePullSecret
from arks.contracts.resources.meta import AGE, KIND, READY_WIDE, REASON, WHY, CustomResource, PrinterColumn, Status
from arks.contracts.resources.schema import (
    MAX_LABEL_LENGTH,
    ApiModel,
    Count64,
    Location,
    ObjectName,
    Passthrough,
    Rule,
    text_or_object,
)

SUB_PATH_PATTERN = r"^[A-Za-z0-9._@+=:,-]+(/[A-Za-z0-9._@+=:,-]+)*/?$"
"""A relative path without blanks and shell characters, because it is used in command lines."""
HF_TOKEN_KEY = "HF_TOKEN"  # noqa: S105  # the name of a key in a secret, not a secret


class ModelPhase(StrEnum):
    PENDING = "Pending"
    STORAGE_CREATING = "StorageCreating"
    MODEL_LOADING = "ModelLoading"
    READY = "Ready"
    FAILED = "Failed"


class HubTokenRef(ApiModel):
    """The secret that holds a hub's access token."""

    name: ObjectName = Field(description="Name of the secret, in the model's namespace.")
    key: str = Field(default=HF_TOKEN_KEY, min_length=1, max_length=253, description="Key in the secret.")


def _name_or_reference(schema: dict[str, Any]) -> None:
    description = schema.get("description", "")
    schema.clear()
    schema |= {"description": description} | text_or_object("name", HubTokenRef)


class HuggingFaceSource(ApiModel):
    """Download from Hugging Face or from a hub with the same API."""

    token_secret_ref: HubTokenRef | None = Field(
        default=None,
        description="Secret with the access token: `{name, key}`, or its name alone (then the key is HF_TOKEN).",
        json_schema_extra=_name_or_reference,
    )
    endpoint: str | None = Field(
        default=None,
        max_length=2048,
        pattern=r"^https?://[^\s/?#]+[^\s?#]*$",
        description="Base URL of a hub with the same API; default is Hugging Face itself.",
    )
    revision: str | None = Field(
        default=None, min_length=1, max_length=255, description="Branch, tag or commit; default `main`."
    )
    allow_patterns: list[str] = Field(
        default_factory=list,
        max_length=64,
        description="Download only files that match one of these, as in a shell: `*.gguf`.",
    )
    ignore_patterns: list[str] = Field(
        default_factory=list, max_length=64, description="Skip files that match one of these."
    )

    @field_validator("token_secret_ref", mode="before")
    @classmethod
    def _bare_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value


class FileSource(ApiModel):
    """A file or directory that is already on this machine. One machine only."""

    path: str = Field(
        min_length=1, max_length=4096, pattern=r"^/", description="Absolute path of the file or directory."
    )
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Digest that the file must have, hexadecimal."
    )


class ModelSource(ApiModel):
    """Source of the model's files: exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="give exactly one of huggingface and file",
            broken_at=lambda source: () if (source.huggingface is None) == (source.file is None) else None,
            cel="has(self.huggingface) != has(self.file)",
        ),
    )

    huggingface: HuggingFaceSource | None = Field(default=None, description="Download from a hub.")
    file: FileSource | None = Field(default=None, description="Use a local file. One machine only.")


class PvcStorage(ApiModel):
    """A PersistentVolumeClaim; an existing one is adopted unchanged."""

    name: ObjectName | None = Field(default=None, description="Name of the PVC; default is the model's name.")
    spec: Passthrough = Field(description="PersistentVolumeClaimSpec, used if the PVC has to be created.")


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
    )

    pvc: PvcStorage | None = Field(default=None, description="PersistentVolumeClaim. Kubernetes only.")
    sub_path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        pattern=SUB_PATH_PATTERN,
        description="Path inside the storage; default `models/<namespace>/<name>`.",
    )


class ArksModelSpec(ApiModel):
    """Which model, its source and its storage."""

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


class DownloadProgress(ApiModel):
    """Download progress."""

    done_bytes: Count64 = Field(default=0, description="Bytes on disk.")
    total_bytes: Count64 | None = Field(default=None, description="Total bytes; absent until known.")
    percent: float | None = Field(default=None, ge=0, le=100, strict=False, description="Share that is done.")
    bytes_per_second: Count64 | None = Field(default=None, description="Speed of the last seconds.")
    remaining_seconds: Count64 | None = Field(default=None, description="Expected time to the end.")


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
