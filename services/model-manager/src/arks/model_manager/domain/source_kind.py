"""The kinds of sources. Standard library only, see `protocol`."""

from dataclasses import dataclass
from enum import StrEnum


class SourceKind(StrEnum):
    HUB = "hub"
    """Hugging Face, and hubs with its API."""
    MODELSCOPE = "modelscope"
    S3 = "s3"
    GS = "gs"
    AZ = "az"
    OCI = "oci"
    HTTP = "http"
    FILE = "file"
    STORED = "stored"
    """`spec.source` is absent: a user fills the storage."""

    @property
    def downloads(self) -> bool:
        """Whether Arks writes the files."""
        return self not in {SourceKind.FILE, SourceKind.STORED}


@dataclass(frozen=True, slots=True)
class HttpFile:
    """A file of an HTTP source."""

    url: str
    path: str
    """Where it is stored, relative to the model's directory."""
    sha256: str | None = None
