"""What the supervisor says about itself and its processes: run/state.json, written whole or not at all."""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from arks.local.files.paths import Paths


class ServiceState(StrEnum):
    WAITING = "waiting"
    """For the programs that it needs at its first start."""
    STARTING = "starting"
    READY = "ready"
    UNREADY = "unready"
    """Runs, was ready, and says that it is not now."""
    RESTARTING = "restarting"
    """It ended; its next start waits a moment."""
    STOPPED = "stopped"


class Phase(StrEnum):
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    state: ServiceState
    address: str
    pid: int | None = None
    restarts: int = 0
    since: float = 0.0
    """Seconds since the epoch."""
    problem: str = ""
    last_lines: tuple[str, ...] = ()
    """Of its log, from when it last ended."""


@dataclass(frozen=True, slots=True)
class State:
    pid: int
    phase: Phase
    started: float
    ports: Mapping[str, int]
    services: tuple[Service, ...] = field(default=())

    def service(self, name: str) -> Service | None:
        return next((service for service in self.services if service.name == name), None)

    def ready(self) -> bool:
        return bool(self.services) and all(service.state == ServiceState.READY for service in self.services)


def to_json(state: State) -> str:
    return json.dumps(asdict(state), indent=2) + "\n"


def from_json(text: str) -> State:
    """Raises ValueError, KeyError or TypeError when it is not a state."""
    data: dict[str, Any] = json.loads(text)
    services = tuple(
        Service(**{**one, "state": ServiceState(one["state"]), "last_lines": tuple(one["last_lines"])})
        for one in data.pop("services")
    )
    return State(**{**data, "phase": Phase(data["phase"]), "services": services})


def write(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner only. Raises OSError."""
    temporary = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    temporary.replace(path)


def read(paths: Paths) -> State | None:
    """The last state written; None when there is none, or none that this version understands."""
    try:
        return from_json(paths.state.read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_running(paths: Paths) -> bool:
    """Whether a supervisor lives. It holds the lock for its whole life, so the kernel answers, not a file's content."""
    try:
        with paths.lock.open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    return False


def running(paths: Paths) -> State | None:
    """The state of a living supervisor."""
    return read(paths) if is_running(paths) else None
