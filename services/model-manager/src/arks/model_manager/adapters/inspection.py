"""Inspect model directories by names, sizes and the marker. Blocking; reads no content but headers and config.json."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from arks.model_manager.adapters import marker
from arks.model_manager.adapters.model_memory import measure
from arks.model_manager.domain.engine_file import engine_file, is_gguf
from arks.model_manager.domain.observation import Content, StoredWeights
from arks.model_manager.domain.storage_path import ARKS_DIRECTORY
from arks.model_manager.domain.weights_source import WeightsSource

GGUF_MAGIC = b"GGUF"
MAX_FILES = 100_000
_FILL_IT = "spec.source is absent, so the weights have to be put there"


def inspect_hub(directory: Path, fingerprint: str) -> StoredWeights:
    """A directory that a download fills. `fingerprint`: of the source."""
    if not directory.exists():
        return StoredWeights(Content.ABSENT)
    if not directory.is_dir():
        return StoredWeights(Content.REFUSED, message=f"{directory} is in the way: it is not a directory")
    complete = marker.read_complete(directory)
    if complete is None or complete.fingerprint != fingerprint:
        return StoredWeights(Content.INCOMPLETE)
    return _marked(directory, complete)


def inspect_stored(directory: Path) -> StoredWeights:
    """A directory that a user or another model fills."""
    if not directory.is_dir():
        return StoredWeights(Content.ABSENT, message=f"{directory} does not exist; {_FILL_IT}")
    complete = marker.read_complete(directory)
    if complete is not None:
        return _marked(directory, complete)
    if marker.partial_directory(directory).exists():
        message = f"{directory} is not complete: another ArksModel downloads into it"
        return StoredWeights(Content.REFUSED, message=message)
    return _listed(directory, f"{directory} is empty; {_FILL_IT}")


def inspect_file(source: WeightsSource, record: Path) -> StoredWeights:
    """A file or directory that is used in place. `record`: result of its last check."""
    path = Path(source.path)
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return StoredWeights(Content.ABSENT, message=f"{path} does not exist on this machine")
    if stat.S_ISDIR(state.st_mode):
        if source.sha256 is not None:
            message = f"{path} is a directory: source.file.sha256 is for a single file"
            return StoredWeights(Content.REFUSED, message=message)
        return _listed(path, f"{path} is empty")
    if fault := _fault_of(path, state):
        return StoredWeights(Content.REFUSED, message=fault)
    if source.sha256 is not None and not _recorded(record, source, state):
        return StoredWeights(Content.INCOMPLETE)
    memory = measure(path, {path.name: state.st_size})
    return StoredWeights(Content.COMPLETE, str(path), state.st_size, 1, sha256=source.sha256, memory=memory)


def version_of(path: Path) -> tuple[int, int, int] | None:
    """Changes with the file's content: size, modification time, inode. None if there is no file."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino


def _marked(directory: Path, complete: marker.Complete) -> StoredWeights:
    if broken := marker.broken_files(directory, complete.files):
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        return StoredWeights(Content.DAMAGED, message=f"{broken[0]}{more}")
    sizes = {file.path: file.size_bytes for file in complete.files}
    path = directory / engine_file(list(sizes))
    return StoredWeights(
        Content.COMPLETE,
        path=str(path),
        size_bytes=sum(file.size_bytes for file in complete.files),
        file_count=len(complete.files),
        sha256=complete.files[0].sha256 if len(complete.files) == 1 else None,
        revision=complete.revision,
        memory=measure(path, sizes),
    )


def _listed(directory: Path, if_empty: str) -> StoredWeights:
    sizes: dict[str, int] = {}
    for path in _files(directory):
        state = path.stat()
        if is_gguf(path.name) and (fault := _fault_of(path, state)):
            return StoredWeights(Content.REFUSED, message=fault)
        sizes[str(path.relative_to(directory))] = state.st_size
    if not sizes:
        return StoredWeights(Content.REFUSED, message=if_empty)
    path = directory / engine_file(list(sizes))
    return StoredWeights(Content.COMPLETE, str(path), sum(sizes.values()), len(sizes), memory=measure(path, sizes))


def _files(directory: Path) -> Iterator[Path]:
    """Regular files of the directory, without Arks' own; at most `MAX_FILES`, in case the path is `/` by mistake."""
    found = 0
    for parent, children, names in os.walk(directory):
        children[:] = sorted(name for name in children if name != ARKS_DIRECTORY)
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                found += 1
                yield path
            if found >= MAX_FILES:
                return


def _fault_of(path: Path, state: os.stat_result) -> str:
    """Why engines could not load this file; empty if no fault is found."""
    if not stat.S_ISREG(state.st_mode):
        return f"{path} is neither a file nor a directory"
    if not os.access(path, os.R_OK):
        return f"{path} is not readable for the user that Arks runs as"
    if state.st_size == 0:
        return f"{path} is empty"
    if is_gguf(path.name):
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
        if magic != GGUF_MAGIC:
            return f"{path} is not a GGUF file: it begins with {magic!r} instead of {GGUF_MAGIC!r}"
    return ""


def _recorded(record: Path, source: WeightsSource, state: os.stat_result) -> bool:
    """Whether exactly this file was hashed before."""
    try:
        recorded = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return False
    expected = {
        "path": source.path,
        "sha256": source.sha256,
        "size_bytes": state.st_size,
        "modified_ns": state.st_mtime_ns,
        "inode": state.st_ino,
    }
    return bool(recorded == expected)
