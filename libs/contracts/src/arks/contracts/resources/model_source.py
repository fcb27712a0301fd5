"""Sources of a model's files: where they are, and how they are chosen."""

from typing import Any, ClassVar

from pydantic import Field, field_validator

from arks.contracts.resources.schema import ApiModel, ObjectName, Rule, text_or_object

HF_TOKEN_KEY = "HF_TOKEN"  # noqa: S105  # the name of a key in a secret, not a secret
_FILE_PATH = r"^[A-Za-z0-9_@+=:,-][A-Za-z0-9._@+=:,-]*(/[A-Za-z0-9_@+=:,-][A-Za-z0-9._@+=:,-]*)*$"
_SHA256 = r"^[0-9a-f]{64}$"
_URL = r"^https?://[^\s/?#]+[^\s?#]*$"


class HubTokenRef(ApiModel):
    """The secret that holds a hub's access token."""

    name: ObjectName = Field(description="Name of the secret, in the model's namespace.")
    key: str = Field(default=HF_TOKEN_KEY, min_length=1, max_length=253, description="Key in the secret.")


class SourceSecretRef(ApiModel):
    """The secret that holds a source's credentials."""

    name: ObjectName = Field(description="Name of the secret, in the model's namespace.")


def _name_or_reference(schema: dict[str, Any]) -> None:
    description = schema.get("description", "")
    schema.clear()
    schema |= {"description": description} | text_or_object("name", HubTokenRef)


class ChosenFiles(ApiModel):
    allow_patterns: list[str] = Field(
        default_factory=list,
        max_length=64,
        description="Download only files that match one of these, as in a shell: `*.gguf`.",
    )
    ignore_patterns: list[str] = Field(
        default_factory=list, max_length=64, description="Skip files that match one of these."
    )


class HuggingFaceSource(ChosenFiles):
    """Download from Hugging Face or from a hub with the same API."""

    token_secret_ref: HubTokenRef | None = Field(
        default=None,
        description="Secret with the access token: `{name, key}`, or its name alone (then the key is HF_TOKEN).",
        json_schema_extra=_name_or_reference,
    )
    endpoint: str | None = Field(
        default=None,
        max_length=2048,
        pattern=_URL,
        description="Base URL of a hub with the same API; default is Hugging Face itself.",
    )
    revision: str | None = Field(
        default=None, min_length=1, max_length=255, description="Branch, tag or commit; default `main`."
    )

    @field_validator("token_secret_ref", mode="before")
    @classmethod
    def _bare_name(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value


class ModelScopeSource(ChosenFiles):
    """Download from ModelScope or from a hub with the same API."""

    secret_ref: SourceSecretRef | None = Field(
        default=None, description="Secret with the access token under MODELSCOPE_API_TOKEN."
    )
    endpoint: str | None = Field(
        default=None,
        max_length=2048,
        pattern=_URL,
        description="Base URL of the hub; default is `https://modelscope.cn`.",
    )
    revision: str | None = Field(
        default=None, min_length=1, max_length=255, description="Branch, tag or commit; default `master`."
    )


class S3Source(ChosenFiles):
    """Download from Amazon S3 or any store with its API."""

    url: str = Field(
        max_length=2048,
        pattern=r"^s3://[a-z0-9][a-z0-9._-]{1,253}(/[^\s?#]*)?$",
        description="Bucket and prefix, or one object: `s3://bucket/models/qwen`.",
    )
    endpoint: str | None = Field(
        default=None, max_length=2048, pattern=_URL, description="URL of a store other than Amazon's."
    )
    region: str | None = Field(
        default=None, min_length=1, max_length=63, description="Region of the bucket; default `us-east-1`."
    )
    secret_ref: SourceSecretRef | None = Field(
        default=None,
        description=(
            "Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN). Absent: the identity of "
            "the download worker's pod, or none."
        ),
    )


class GcsSource(ChosenFiles):
    """Download from Google Cloud Storage."""

    url: str = Field(
        max_length=2048,
        pattern=r"^gs://[a-z0-9][a-z0-9._-]{1,253}(/[^\s?#]*)?$",
        description="Bucket and prefix, or one object: `gs://bucket/models/qwen`.",
    )
    endpoint: str | None = Field(
        default=None, max_length=2048, pattern=_URL, description="URL of a store other than Google's."
    )
    secret_ref: SourceSecretRef | None = Field(
        default=None,
        description=(
            "Secret with a service account's JSON key under GOOGLE_SERVICE_ACCOUNT_KEY. Absent: the identity of the "
            "download worker's pod, or none."
        ),
    )


class AzureSource(ChosenFiles):
    """Download from Azure Blob Storage."""

    url: str = Field(
        max_length=2048,
        pattern=r"^az://[a-z0-9][a-z0-9-]{1,62}(/[^\s?#]*)?$",
        description="Container and prefix, or one blob: `az://container/models/qwen`.",
    )
    account: str = Field(pattern=r"^[a-z0-9]{3,24}$", description="Name of the storage account.")
    endpoint: str | None = Field(
        default=None, max_length=2048, pattern=_URL, description="URL of the blob service, if it is not Azure's own."
    )
    secret_ref: SourceSecretRef | None = Field(
        default=None,
        description=(
            "Secret with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN. Absent: the identity of the download "
            "worker's pod, or none."
        ),
    )


class OciSource(ChosenFiles):
    """Download an artifact from an OCI registry: each layer is a file, named by its title."""

    reference: str = Field(
        max_length=512,
        pattern=r"^[A-Za-z0-9.-]+(:[0-9]+)?/[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$",
        description="Registry, repository and tag or digest: `ghcr.io/acme/qwen:v1`, `ghcr.io/acme/qwen@sha256:...`.",
    )
    plain_http: bool = Field(default=False, description="Whether the registry is addressed without TLS.")
    secret_ref: SourceSecretRef | None = Field(
        default=None,
        description="Secret of type `kubernetes.io/dockerconfigjson`, or with USERNAME and PASSWORD.",
    )


class HttpFileSource(ApiModel):
    """A file at a URL."""

    url: str = Field(max_length=4096, pattern=r"^https?://[^\s/?#]+[^\s#]*$", description="Address of the file.")
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        pattern=_FILE_PATH,
        description="Where it is stored in the model's directory; default is the last part of the URL's path.",
    )
    sha256: str | None = Field(default=None, pattern=_SHA256, description="Digest that the file must have.")


class HttpSource(ApiModel):
    """Download files from web servers."""

    files: list[HttpFileSource] = Field(min_length=1, max_length=256, description="The model's files.")
    secret_ref: SourceSecretRef | None = Field(
        default=None, description="Secret with the value of the Authorization header under AUTHORIZATION."
    )


class FileSource(ApiModel):
    """A file or directory that is already on this machine. One machine only."""

    path: str = Field(
        min_length=1, max_length=4096, pattern=r"^/", description="Absolute path of the file or directory."
    )
    sha256: str | None = Field(default=None, pattern=_SHA256, description="Digest that the file must have.")


_SOURCES = ("huggingface", "modelscope", "s3", "gs", "az", "oci", "http", "file")


def _given(source: "ModelSource") -> int:
    return sum(getattr(source, name) is not None for name in _SOURCES)


class ModelSource(ApiModel):
    """Source of the model's files: exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            message="give exactly one of huggingface, modelscope, s3, gs, az, oci, http and file",
            broken_at=lambda source: () if _given(source) != 1 else None,
            cel=" + ".join(f"(has(self.{name}) ? 1 : 0)" for name in _SOURCES) + " == 1",
        ),
    )

    huggingface: HuggingFaceSource | None = Field(default=None, description="Download from a hub.")
    modelscope: ModelScopeSource | None = Field(default=None, description="Download from ModelScope.")
    s3: S3Source | None = Field(default=None, description="Download from S3 or a store with its API.")
    gs: GcsSource | None = Field(default=None, description="Download from Google Cloud Storage.")
    az: AzureSource | None = Field(default=None, description="Download from Azure Blob Storage.")
    oci: OciSource | None = Field(default=None, description="Download an artifact from an OCI registry.")
    http: HttpSource | None = Field(default=None, description="Download files from web servers.")
    file: FileSource | None = Field(default=None, description="Use a local file. One machine only.")
