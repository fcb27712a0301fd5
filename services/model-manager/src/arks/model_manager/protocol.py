"""What the service and its download process say to each other: one request as JSON on stdin, JSON lines back on stdout.

Standard library only: the process is started for every download.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class FailureKind(StrEnum):
    """Why a download failed: it decides when it is tried again."""

    NETWORK = "network"
    CRASHED = "crashed"
    CORRUPT = "corrupt"
    NO_SPACE = "no-space"
    STORAGE = "storage"
    DENIED = "denied"
    NOT_FOUND = "not-found"
    INVALID = "invalid"


class LoadFailed(Exception):
    """A download (or check) cannot go on; the message is for status."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class HubRequest:
    """Load a repository of a hub into a directory."""

    directory: str
    fingerprint: str
    repository: str
    endpoint: str
    revision: str
    allow_patterns: tuple[str, ...] = ()
    ignore_patterns: tuple[str, ...] = ()
    token: str | None = None
    connections: int = 4
    reserve_bytes: int = 0
    """Space to leave free on the disk."""

    def __repr__(self) -> str:
        return f"HubRequest({self.repository} -> {self.directory})"  # without the token


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Hash a local file; `record` gets what was found."""

    path: str
    sha256: str
    record: str


Request = HubRequest | CheckRequest


@dataclass(frozen=True, slots=True)
class Report:
    """One line from the process. The last one has `done` or a `failure`."""

    done_bytes: int = 0
    total_bytes: int | None = None
    """None until the hub has said it."""
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
    return HubRequest(**stored)


def report_to_json(report: Report) -> str:
    return json.dumps(asdict(report))


def report_from_json(line: bytes) -> Report:
    """Raises ValueError when the line is no report."""
    try:
        stored = json.loads(line)
        kind = stored.pop("failure", None)
        return Report(**stored, failure=None if kind is None else FailureKind(kind))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a report: {error}") from error
