"""Files of each engine: engines/<namespace>/<application>/<replica>/ in the state directory.

app-deployer writes `launch.json`, and `ready.json` once the model has answered. The shim writes `state.json` and logs.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from arks.contracts.subjects import decode, encode
from arks.kit.files import last_lines, write_atomically
from arks.kit.key import Key
from arks.kit.telemetry import redact

T = TypeVar("T")
_TAIL_BYTES = 16 * 1024
_LINE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Launch:
    """Input of the shim, and what app-deployer needs to adopt the engine after a restart.

    The engine's environment is left out, because it may hold secrets.
    """

    command: list[str]
    owner_pid: int
    owner_start_ticks: int
    log_bytes: int
    kill_seconds: float
    port: int
    revision: str
    """Digest of the spec that the engine runs."""
    served_model: str
    slots: int
    restarts: int
    failures: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class ShimState:
    status: str
    """running or ended."""
    shim_pid: int
    shim_start_ticks: int
    pid: int
    start_ticks: int
    started_at: float
    exit_code: int | None = None
    """Negative: the signal."""
    ended_at: float | None = None
    stop_requested: bool = False
    """app-deployer had sent SIGTERM."""


@dataclass(frozen=True, slots=True)
class ReadyMark:
    pid: int
    start_ticks: int
    ready_at: float
    """Seconds since the epoch."""
    load_seconds: float | None = None
    """None: an earlier version wrote it."""
    warm_up_seconds: float = 0.0


_STORED_NAMES = dict(asked="stop_requested")  # noqa: C408  # a word that the glossary replaces
"""Fields that shims write under another name: running shims of older versions must stay readable."""


class Directory:
    """Directory of one replica. A missing or damaged file reads as None. Methods raise OSError on a broken disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def launch(self) -> Launch | None:
        return _read(self.path / "launch.json", Launch)

    def write_launch(self, launch: Launch) -> None:
        """Write launch.json for a new start and delete the files of the previous engine, except its log."""
        for name in ("state.json", "ready.json"):
            (self.path / name).unlink(missing_ok=True)
        write_atomically(self.path / "launch.json", json.dumps(asdict(launch)), mode=0o600)

    @property
    def state(self) -> ShimState | None:
        return _read(self.path / "state.json", ShimState)

    @property
    def ready(self) -> ReadyMark | None:
        return _read(self.path / "ready.json", ReadyMark)

    def write_ready(self, mark: ReadyMark) -> None:
        write_atomically(self.path / "ready.json", json.dumps(asdict(mark)), mode=0o600)

    def last_lines(self, count: int = 5) -> list[str]:
        """The end of the engine's log, without empty lines; long ones cut, secrets blacked out."""
        log = self.path / "engine.log"
        lines = last_lines(log, count, max_characters=_LINE_CHARACTERS, max_bytes=_TAIL_BYTES)
        return [redact(line) for line in lines]


class EngineDirectories:
    def __init__(self, root: Path) -> None:
        self._root = root

    def of(self, key: Key, replica: str) -> Directory:
        return Directory(self._application(key) / encode(replica))

    def remove(self, key: Key) -> None:
        shutil.rmtree(self._application(key), ignore_errors=True)

    def all(self) -> Iterator[tuple[Key, str, Directory]]:
        """Every replica that has been launched: application, name, directory."""
        for launch in sorted(self._root.glob("*/*/*/launch.json")):
            replica = launch.parent
            key = Key(decode(replica.parent.parent.name), decode(replica.parent.name))
            yield key, decode(replica.name), Directory(replica)

    def _application(self, key: Key) -> Path:
        return self._root / encode(key.namespace) / encode(key.name)


def _read(path: Path, kind: type[T]) -> T | None:
    """Unknown fields are ignored: another version may have written them."""
    try:
        stored: Mapping[str, Any] = json.loads(path.read_text())
        known = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # all three are dataclasses
        named = {_STORED_NAMES.get(name, name): value for name, value in stored.items()}
        return kind(**{name: value for name, value in named.items() if name in known})
    except (OSError, ValueError, TypeError):
        return None
