"""The marker of a model's directory, in its `.arks/`: whether Arks created it, and which files are complete.

The service reads it, download processes write it; standard library only, so that both stay small. Directories of
earlier versions stay readable: names of files and fields do not change.
"""

import contextlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from arks.kit.files import write_atomically
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY

_CREATED = "created.json"
_COMPLETE = "complete.json"
_PREVIOUS = "previous.json"
_GATHERED = "next.revision"
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
    version: str | None = None
    """What a source without hashes gave: an ETag."""
    content_sha256: str | None = None
    """Computed from the content where the source gave no hash."""


_FIELDS = {field.name for field in fields(StoredFile)}


@dataclass(frozen=True, slots=True)
class Complete:
    """All files of the source with this fingerprint are in the directory and were checked."""

    fingerprint: str
    revision: str
    """Commit."""
    files: tuple[StoredFile, ...]


def arks_directory(directory: Path) -> Path:
    return directory / ARKS_DIRECTORY


def partial_directory(directory: Path) -> Path:
    """Holds files until they are whole and checked."""
    return arks_directory(directory) / "partial"


def next_directory(directory: Path) -> Path:
    """Holds whole and checked files of a new version until all are there."""
    return arks_directory(directory) / "next"


def gathered_revision(directory: Path) -> str | None:
    """Which revision the files of `next_directory` belong to."""
    try:
        return (arks_directory(directory) / _GATHERED).read_text()
    except OSError:
        return None


def gather(directory: Path, revision: str) -> None:
    """Files of this revision are put into `next_directory` from now on."""
    (arks_directory(directory) / _GATHERED).write_text(revision)


def lock_file(directory: Path) -> Path:
    return arks_directory(directory) / "lock"


def created_by_arks(directory: Path) -> bool:
    """Whether Arks created this directory, and so may remove it."""
    return (arks_directory(directory) / _CREATED).is_file()


def mark_created(directory: Path, by: str) -> None:
    write_record(arks_directory(directory) / _CREATED, {"format": _FORMAT, "by": by})


def mark_complete(directory: Path, complete: Complete) -> None:
    write_record(arks_directory(directory) / _COMPLETE, {"format": _FORMAT, **asdict(complete)})


def read_complete(directory: Path) -> Complete | None:
    """None if there is no readable marker; the files are then checked again."""
    return _read(arks_directory(directory) / _COMPLETE)


def retire_complete(directory: Path) -> None:
    """Mark the directory as incomplete for every source, before the first file changes."""
    with contextlib.suppress(FileNotFoundError):
        (arks_directory(directory) / _COMPLETE).replace(arks_directory(directory) / _PREVIOUS)


def read_previous(directory: Path) -> Complete | None:
    """The retired marker: the files as of their last check."""
    return _read(arks_directory(directory) / _PREVIOUS)


def forget_previous(directory: Path) -> None:
    for name in (_PREVIOUS, _GATHERED):
        (arks_directory(directory) / name).unlink(missing_ok=True)


def _read(path: Path) -> Complete | None:
    try:
        stored = json.loads(path.read_bytes())
        if stored["format"] != _FORMAT:
            return None
        files = tuple(_stored_file(entry) for entry in stored["files"])
        return Complete(stored["fingerprint"], stored["revision"], files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        return None


def _stored_file(entry: dict[str, Any]) -> StoredFile:
    """Fields that a newer version wrote are ignored."""
    return StoredFile(**{name: value for name, value in entry.items() if name in _FIELDS})


def broken_files(directory: Path, files: Iterable[StoredFile]) -> list[str]:
    """A sentence per missing or resized file, by name and size only."""
    found: list[str] = []
    for file in files:
        try:
            size = (directory / file.path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            found.append(f"{file.path} is missing")
            continue
        if size != file.size_bytes:
            found.append(f"{file.path} has {size} bytes instead of {file.size_bytes}")
    return found


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write JSON to the file, whole even after a power cut. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content, indent=1), durable=True)
