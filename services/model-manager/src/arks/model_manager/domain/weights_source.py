"""Where a model's weights come from."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum

from arks.contracts.resources import ArksModelSpec

DEFAULT_REVISION = "main"


class SourceKind(StrEnum):
    HUB = "hub"
    FILE = "file"
    STORED = "stored"
    """`spec.source` is absent: a user fills the storage."""


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """The source of a spec, with its defaults filled in."""

    kind: SourceKind
    repository: str = ""
    endpoint: str = ""
    revision: str = DEFAULT_REVISION
    allow_patterns: tuple[str, ...] = ()
    ignore_patterns: tuple[str, ...] = ()
    path: str = ""
    """Of a file source."""
    sha256: str | None = None
    """Required of the file."""

    @property
    def fingerprint(self) -> str:
        """Equal for sources of the same weights. Markers and Jobs store it: its input never changes."""
        identity = [self.kind, self.repository, self.endpoint, self.revision, self.path, self.sha256]
        patterns = [list(self.allow_patterns), list(self.ignore_patterns)]
        return hashlib.sha256(json.dumps([identity, patterns]).encode()).hexdigest()

    @property
    def origin(self) -> str:
        """For messages, without the endpoint's password."""
        if self.kind is SourceKind.HUB:
            scheme, _, address = self.endpoint.partition("://")
            return f"{self.repository} ({self.revision}) at {scheme}://{address.rpartition('@')[2]}"
        return self.path if self.kind is SourceKind.FILE else "the storage"


def weights_source_of(spec: ArksModelSpec, default_endpoint: str) -> WeightsSource:
    """`default_endpoint`: of the hub, for specs that name none."""
    source = spec.source
    if source is None:
        return WeightsSource(SourceKind.STORED)
    if source.file is not None:
        return WeightsSource(SourceKind.FILE, path=source.file.path, sha256=source.file.sha256)
    hub = source.huggingface
    return WeightsSource(
        SourceKind.HUB,
        repository=spec.model,
        endpoint=((hub and hub.endpoint) or default_endpoint).rstrip("/"),
        revision=(hub and hub.revision) or DEFAULT_REVISION,
        allow_patterns=tuple(hub.allow_patterns) if hub else (),
        ignore_patterns=tuple(hub.ignore_patterns) if hub else (),
    )
