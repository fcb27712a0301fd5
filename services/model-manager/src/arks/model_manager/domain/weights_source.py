"""Where a model's weights come from."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from arks.contracts.resources import ArksModelSpec, ChosenFiles, HttpFileSource, HuggingFaceSource, ModelSource
from arks.model_manager.domain.source_kind import HttpFile, SourceKind

DEFAULT_REVISION = "main"
MODELSCOPE_ENDPOINT = "https://modelscope.cn"
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """The source of a spec, with its defaults filled in."""

    kind: SourceKind
    repository: str = ""
    """What the source calls the model: a repository, a URL, a reference."""
    endpoint: str = ""
    revision: str = DEFAULT_REVISION
    allow_patterns: tuple[str, ...] = ()
    ignore_patterns: tuple[str, ...] = ()
    path: str = ""
    """Of a file source."""
    sha256: str | None = None
    """Required of the file."""
    region: str = ""
    """Of a bucket; for Azure the storage account."""
    files: tuple[HttpFile, ...] = ()
    """Of an HTTP source."""

    @property
    def fingerprint(self) -> str:
        """Equal for sources of the same weights. Markers and Jobs store it: its input never changes."""
        identity: list[object] = [
            *(self.kind, self.repository, self.endpoint),
            *(self.revision, self.path, self.sha256),
        ]
        more: list[object] = [self.region] if self.region else []
        more += [[file.url, file.path, file.sha256] for file in self.files]
        patterns = [list(self.allow_patterns), list(self.ignore_patterns)]
        return hashlib.sha256(json.dumps([identity + more, patterns]).encode()).hexdigest()

    @property
    def origin(self) -> str:
        """For messages, without passwords and signatures of addresses."""
        match self.kind:
            case SourceKind.HUB | SourceKind.MODELSCOPE:
                return f"{self.repository} ({self.revision}) at {_public(self.endpoint)}"
            case SourceKind.S3 | SourceKind.GS | SourceKind.AZ:
                return f"{self.repository} at {_public(self.endpoint)}" if self.endpoint else self.repository
            case SourceKind.HTTP:
                more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
                return f"{_public(self.files[0].url)}{more}"
            case SourceKind.OCI:
                return self.repository
            case SourceKind.FILE:
                return self.path
            case SourceKind.STORED:
                return "the storage"


def weights_source_of(spec: ArksModelSpec, default_endpoint: str) -> WeightsSource:
    """`default_endpoint`: of the hub, for specs that name none."""
    source = spec.source
    if source is None:
        return WeightsSource(SourceKind.STORED)
    if source.file is not None:
        return WeightsSource(SourceKind.FILE, path=source.file.path, sha256=source.file.sha256)
    if source.http is not None:
        return WeightsSource(SourceKind.HTTP, revision="", files=tuple(map(_http_file, source.http.files)))
    if source.oci is not None:
        scheme = "http" if source.oci.plain_http else "https"
        return _chosen(WeightsSource(SourceKind.OCI, source.oci.reference, scheme, ""), source.oci)
    return _bucket(source) or _hub(spec, source, default_endpoint)


def _bucket(source: ModelSource) -> WeightsSource | None:
    if (s3 := source.s3) is not None:
        region = s3.region or DEFAULT_REGION
        return _chosen(WeightsSource(SourceKind.S3, s3.url, _base(s3.endpoint), "", region=region), s3)
    if (gs := source.gs) is not None:
        return _chosen(WeightsSource(SourceKind.GS, gs.url, _base(gs.endpoint), ""), gs)
    if (az := source.az) is not None:
        return _chosen(WeightsSource(SourceKind.AZ, az.url, _base(az.endpoint), "", region=az.account), az)
    return None


def _hub(spec: ArksModelSpec, source: ModelSource, default_endpoint: str) -> WeightsSource:
    if (scope := source.modelscope) is not None:
        endpoint = _base(scope.endpoint or MODELSCOPE_ENDPOINT)
        return _chosen(WeightsSource(SourceKind.MODELSCOPE, spec.model, endpoint, scope.revision or "master"), scope)
    hub = source.huggingface or HuggingFaceSource()
    endpoint = _base(hub.endpoint or default_endpoint)
    return _chosen(WeightsSource(SourceKind.HUB, spec.model, endpoint, hub.revision or DEFAULT_REVISION), hub)


def _chosen(source: WeightsSource, chosen: ChosenFiles) -> WeightsSource:
    allow, ignore = tuple(chosen.allow_patterns), tuple(chosen.ignore_patterns)
    return replace(source, allow_patterns=allow, ignore_patterns=ignore)


def _base(url: str | None) -> str:
    return (url or "").rstrip("/")


def _http_file(file: HttpFileSource) -> HttpFile:
    name = PurePosixPath(unquote(urlsplit(file.url).path)).name or "model"
    return HttpFile(file.url, file.path or name, file.sha256)


def _public(url: str) -> str:
    """The URL without user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
