"""What Arks writes beside a model's files, into `.arks/` of its directory: who made it, what is whole, what is half.

Read by the service, written by the download process; standard library only, so that both stay small.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ARKS_DIRECTORY = ".arks"
_CREATED = "created.json"
_COMPLETE = "complete.json"
_PREVIOUS = "previous.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a complete model, as it was when its content was checked."""

    path: str
    """Relative to the model's directory, `/` between its parts."""
    size_bytes: int
    modified_ns: int
    sha256: str | None = None
    git_sha1: str | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    """The marker: everything that the order with this fingerprint wants is here and was checked."""

    fingerprint: str
    revision: str
    """Commit."""
    files: tuple[StoredFile, ...]


def arks_directory(directory: Path) -> Path:
    return directory / ARKS_DIRECTORY


def partial_directory(directory: Path) -> Path:
    """Where files lie until they are whole and checked."""
    return arks_directory(directory) / "partial"


def lock_file(directory: Path) -> Path:
    return arks_directory(directory) / "lock"


def made_by_us(directory: Path) -> bool:
    """Whether Arks created this directory, and so may remove it."""
    return (arks_directory(directory) / _CREATED).is_file()


def mark_created(directory: Path, by: str) -> None:
    write_atomically(arks_directory(directory) / _CREATED, {"format": _FORMAT, "by": by})


def mark_complete(directory: Path, complete: Complete) -> None:
    write_atomically(arks_directory(directory) / _COMPLETE, {"format": _FORMAT, **asdict(complete)})


def read_complete(directory: Path) -> Complete | None:
    """The marker, or None when there is none that can be read: then the files are checked again."""
    return _read(arks_directory(directory) / _COMPLETE)


def retire_complete(directory: Path) -> None:
    """Before the first file changes: from here on the directory is not complete, for no order."""
    with contextlib.suppress(FileNotFoundError):
        (arks_directory(directory) / _COMPLETE).replace(arks_directory(directory) / _PREVIOUS)


def read_previous(directory: Path) -> Complete | None:
    """The retired marker: what its files were when they were checked last."""
    return _read(arks_directory(directory) / _PREVIOUS)


def forget_previous(directory: Path) -> None:
    (arks_directory(directory) / _PREVIOUS).unlink(missing_ok=True)


def _read(path: Path) -> Complete | None:
    try:
        stored = json.loads(path.read_bytes())
        if stored["format"] != _FORMAT:
            return None
        files = tuple(StoredFile(**entry) for entry in stored["files"])
        return Complete(stored["fingerprint"], stored["revision"], files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        return None


def broken_files(directory: Path, files: Iterable[StoredFile]) -> list[str]:
    """What is wrong with the files, by name and size only, in words; empty when nothing is."""
    found: list[str] = []
    for file in files:
        try:
            size = (directory / file.path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            found.append(f"{file.path} is gone")
            continue
        if size != file.size_bytes:
            found.append(f"{file.path} has {size} bytes instead of {file.size_bytes}")
    return found


def write_atomically(path: Path, content: dict[str, Any]) -> None:
    """All of it or nothing, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
