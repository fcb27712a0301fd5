"""Messages between the service and its downloads, as JSON.

A process of this machine reads one request from stdin and writes a line per report to stdout. A worker on Kubernetes
writes the same lines, and its outcome as the container's termination message. Jobs of earlier versions still run after
an upgrade: fields keep their names. Standard library only, because a process starts for every download.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.garbage import HIGH_PERCENT, LOW_PERCENT
from arks.model_manager.domain.source_kind import HttpFile, SourceKind


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """Download the files of a source into a directory."""

    directory: str
    fingerprint: str
    repository: str
    """What the source calls the model: a repository, a URL, a reference."""
    endpoint: str
    revision: str
    allow_patterns: tuple[str, ...] = ()
    ignore_patterns: tuple[str, ...] = ()
    kind: SourceKind = SourceKind.HUB
    region: str = ""
    files: tuple[HttpFile, ...] = ()
    """Of an HTTP source."""
    credentials: dict[str, str] = field(default_factory=dict, repr=False)
    """Values of the source's Secret, by their names in `credentials`."""
    connections: int = 4
    """Streams at once."""
    bytes_per_second: int | None = None
    """Of all streams; None: as fast as it goes."""
    reserve_bytes: int = 0
    """Space that stays free on the disk."""
    store: str = ""
    """Directory in which models share equal files; empty: they do not."""
    stores: str = ""
    """Directory whose unused content makes room; empty: `store`."""
    high_percent: float = HIGH_PERCENT
    low_percent: float = LOW_PERCENT
    """Watermarks of the disk, see `garbage`."""

    def __repr__(self) -> str:
        return f"DownloadRequest({self.repository} -> {self.directory})"  # without the credentials


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Hash a local file; `record` is the file that the result is written to."""

    path: str
    sha256: str
    record: str


Request = DownloadRequest | CheckRequest


@dataclass(frozen=True, slots=True)
class Report:
    """One line of a download. The last one has `done` or a `failure`."""

    done_bytes: int = 0
    total_bytes: int | None = None
    """None until the hub has listed its files."""
    done: bool = False
    failure: FailureKind | None = None
    message: str = ""


def request_to_json(request: Request) -> bytes:
    return json.dumps({"check": isinstance(request, CheckRequest), **asdict(request)}).encode()


def request_from_json(text: bytes) -> Request:
    stored: dict[str, Any] = json.loads(text)
    if stored.pop("check"):
        return CheckRequest(**stored)
    for name in ("allow_patterns", "ignore_patterns"):
        stored[name] = tuple(stored[name])
    stored["kind"] = SourceKind(stored["kind"])
    stored["files"] = tuple(HttpFile(**file) for file in stored["files"])
    return DownloadRequest(**stored)


def report_to_json(report: Report) -> str:
    return json.dumps(asdict(report))


def report_from_json(line: bytes) -> Report:
    """Raises ValueError if the line is not a report."""
    try:
        stored = _loads(line)
        kind = stored.pop("failure", None)
        return Report(**stored, failure=None if kind is None else FailureKind(kind))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a report: {error}") from error


@dataclass(frozen=True, slots=True)
class Found:
    """The weights that a worker found in a PVC after its download: the service cannot read the PVC itself."""

    file: str = ""
    """The file that engines load, relative to the directory; empty: the directory."""
    size_bytes: int = 0
    file_count: int = 0
    revision: str | None = None
    sha256: str | None = None
    weights_bytes: int = 0
    """0: unknown, as the next two."""
    kv_bytes_per_token: int = 0
    context_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a worker ended: its last report and, if that is `done`, the weights."""

    report: Report
    found: Found | None = None


def outcome_to_json(outcome: Outcome) -> str:
    return json.dumps(asdict(outcome.report) | {"found": outcome.found and asdict(outcome.found)})


def outcome_from_json(text: str) -> Outcome:
    """Raises ValueError if the text is not an outcome. Pods are not trusted: types are checked."""
    stored = _object(_loads(text))
    found = stored.pop("found", None)
    kind = stored.pop("failure", None)
    report = _checked(Report, stored, failure=None if kind is None else FailureKind(kind))
    if report.done == (report.failure is not None) or report.done != (found is not None):
        raise ValueError("neither done with weights nor failed")
    return Outcome(report, None if found is None else _checked(Found, _object(found)))


def _loads(text: str | bytes) -> Any:
    """Raises ValueError, also for text that is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _object(stored: object) -> dict[str, Any]:
    if not isinstance(stored, dict):
        raise ValueError("not an object")  # noqa: TRY004  # callers catch one error
    return stored


_Message = TypeVar("_Message", Report, Found)
_SIZES = {"weights_bytes", "kv_bytes_per_token", "context_tokens"}
_NUMBERS = {"done_bytes", "total_bytes", "size_bytes", "file_count", *_SIZES}
_OPTIONAL = {"total_bytes", "revision", "sha256"}


def _checked(type_: type[_Message], stored: dict[str, Any], **more: Any) -> _Message:
    for name, value in stored.items():
        if value is None and name in _OPTIONAL:
            continue
        expected = int if name in _NUMBERS else bool if name == "done" else str
        if type(value) is not expected or (name in _NUMBERS and not 0 <= int(value) < 2**63):
            raise ValueError(f"{name} is {value!r}")
    try:
        return type_(**stored, **more)
    except TypeError as error:
        raise ValueError(f"not a {type_.__name__}: {error}") from error
