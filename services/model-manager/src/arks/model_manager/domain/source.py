"""Which weights an ArksModel wants, and which of its files engines load."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from arks.contracts.resources import ArksModelSpec

DEFAULT_REVISION = "main"


class SourceKind(StrEnum):
    HUB = "hub"
    FILE = "file"
    STORED = "stored"
    """No source: somebody has put the weights into the storage."""


@dataclass(frozen=True, slots=True)
class Order:
    """Which weights are wanted."""

    kind: SourceKind
    repository: str = ""
    endpoint: str = ""
    revision: str = DEFAULT_REVISION
    allow_patterns: tuple[str, ...] = ()
    ignore_patterns: tuple[str, ...] = ()
    path: str = ""
    """Of a file source."""
    sha256: str | None = None
    """That the file must have."""

    @property
    def fingerprint(self) -> str:
        """Equal for orders that want the same weights."""
        wanted = [self.kind, self.repository, self.endpoint, self.revision, self.path, self.sha256]
        patterns = [list(self.allow_patterns), list(self.ignore_patterns)]
        return hashlib.sha256(json.dumps([wanted, patterns]).encode()).hexdigest()

    @property
    def origin(self) -> str:
        """For people."""
        if self.kind is SourceKind.HUB:
            scheme, _, address = self.endpoint.partition("://")
            return f"{self.repository} ({self.revision}) at {scheme}://{address.rpartition('@')[2]}"
        return self.path if self.kind is SourceKind.FILE else "the storage"


def order_of(spec: ArksModelSpec, default_endpoint: str) -> Order:
    source = spec.source
    if source is None:
        return Order(SourceKind.STORED)
    if source.file is not None:
        return Order(SourceKind.FILE, path=source.file.path, sha256=source.file.sha256)
    hub = source.huggingface
    return Order(
        SourceKind.HUB,
        repository=spec.model,
        endpoint=((hub and hub.endpoint) or default_endpoint).rstrip("/"),
        revision=(hub and hub.revision) or DEFAULT_REVISION,
        allow_patterns=tuple(hub.allow_patterns) if hub else (),
        ignore_patterns=tuple(hub.ignore_patterns) if hub else (),
    )


def loadable(files: Sequence[str]) -> str:
    """Which of a directory's files engines load: the one GGUF model in it, or "" for the directory itself.

    A GGUF model in several files (`x-00001-of-00003.gguf`) is loaded by its first; projectors (`mmproj`) are no models.
    With several models, or weights of another format besides, only the application can say which.
    """
    weights = [name for name in files if name.endswith((".safetensors", ".bin", ".pt", ".pth"))]
    models = [name for name in files if name.endswith(".gguf") and not name.rpartition("/")[2].startswith("mmproj")]
    first_parts = [name for name in models if _part_of(name) in {None, 1}]
    return first_parts[0] if len(first_parts) == 1 and not weights else ""


def _part_of(name: str) -> int | None:
    """The number of a part of a GGUF model in several files; None for a model in one."""
    stem = name.removesuffix(".gguf")
    head, _, count = stem.rpartition("-of-")
    part = head.rpartition("-")[2]
    return int(part) if count.isdigit() and part.isdigit() and head else None
