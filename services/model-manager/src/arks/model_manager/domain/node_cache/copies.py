"""Copies and their states: messages between model-manager and the agents of nodes, as JSON."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from arks.contracts.resources import CopyPhase

COPIES = "/v1/copies"
"""Route of an agent: GET the copies that it has; PUT the list of those that it keeps. Both answer with its state."""


def version_of(fingerprint: str, revision: str) -> str:
    """Which files a copy has: equal for equal files of a model. `fingerprint`: of the source."""
    return hashlib.sha256(f"{fingerprint}\n{revision}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy that a node keeps."""

    namespace: str
    model: str
    path: str
    """Of the model's directory in the volume of its namespace."""
    fingerprint: str
    revision: str
    sources: tuple[str, ...] = ()
    """Base URLs of agents and exports that have it, best first; empty: none has it yet."""

    @property
    def version(self) -> str:
        return version_of(self.fingerprint, self.revision)


@dataclass(frozen=True, slots=True)
class CopyState:
    namespace: str
    model: str
    version: str
    phase: CopyPhase
    done_bytes: int = 0
    total_bytes: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class AgentState:
    """What an agent answers."""

    copies: tuple[CopyState, ...] = ()
    disk_bytes: int = 0
    free_bytes: int = 0


def copies_to_json(copies: Iterable[Copy]) -> bytes:
    return json.dumps({"copies": [asdict(copy) for copy in copies]}).encode()


def copies_from_json(text: bytes) -> tuple[Copy, ...]:
    """Fields that another version has are ignored. Raises ValueError."""
    return tuple(Copy(**_texts(entry, _COPY), sources=_urls(entry.get("sources"))) for entry in _entries(text))


def state_to_json(state: AgentState) -> bytes:
    return json.dumps(asdict(state)).encode()


def state_from_json(text: bytes) -> AgentState:
    """Fields that another version has are ignored. Raises ValueError."""
    stored = _object(json.loads(text))
    copies = tuple(map(_copy_state, _entries(text)))
    return AgentState(copies, _bytes(stored, "disk_bytes"), _bytes(stored, "free_bytes"))


_COPY = ("namespace", "model", "path", "fingerprint", "revision")
_STATE = ("namespace", "model", "version", "message")


def _copy_state(entry: dict[str, Any]) -> CopyState:
    done_bytes, total_bytes = _bytes(entry, "done_bytes"), _bytes(entry, "total_bytes")
    phase = CopyPhase(str(entry.get("phase")))
    return CopyState(**_texts(entry, _STATE), phase=phase, done_bytes=done_bytes, total_bytes=total_bytes)


def _entries(text: bytes) -> list[dict[str, Any]]:
    listed = _object(json.loads(text)).get("copies")
    if not isinstance(listed, list):
        raise ValueError("no list of copies")  # noqa: TRY004  # callers catch one error
    return [_object(entry) for entry in listed]


def _object(stored: object) -> dict[str, Any]:
    if not isinstance(stored, dict):
        raise ValueError("not an object")  # noqa: TRY004
    return stored


def _texts(entry: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    for name in names:
        if not isinstance(entry.get(name), str):
            raise ValueError(f"{name} is {entry.get(name)!r}")  # noqa: TRY004
    return {name: entry[name] for name in names}


def _urls(given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(url, str) for url in given):
        raise ValueError("sources are not URLs")
    return tuple(given)


def _bytes(entry: dict[str, Any], name: str) -> int:
    value = entry.get(name, 0)
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} is {value!r}")
    return value
