"""Models in directories of one machine: what lies there, by names, sizes and the marker. Blocking; reads no content."""

import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from arks.kit.errors import Invalid, Unavailable
from arks.model_manager.adapters import marker
from arks.model_manager.domain.observation import Content, Stored
from arks.model_manager.domain.path_use import Removal
from arks.model_manager.domain.source import Order, loadable

GGUF_MAGIC = b"GGUF"
MAX_FILES = 100_000
_REMOVING = ".removing-"


def inspect_hub(directory: Path, fingerprint: str) -> Stored:
    """A directory that a download fills."""
    if not directory.exists():
        return Stored(Content.ABSENT)
    if not directory.is_dir():
        return Stored(Content.REFUSED, message=f"{directory} is in the way: it is not a directory")
    complete = marker.read_complete(directory)
    if complete is None or complete.fingerprint != fingerprint:
        return Stored(Content.INCOMPLETE)
    return _marked(directory, complete)


def inspect_stored(directory: Path) -> Stored:
    """A directory that somebody else has filled."""
    if not directory.is_dir():
        message = f"{directory} does not exist; spec.source is absent, so the weights have to be put there"
        return Stored(Content.ABSENT, message=message)
    complete = marker.read_complete(directory)
    if complete is not None:
        return _marked(directory, complete)
    if marker.partial_directory(directory).exists():
        return Stored(Content.REFUSED, message=f"{directory} is not complete: another ArksModel downloads into it")
    return _listed(directory, f"{directory} is empty; spec.source is absent, so the weights have to be put there")


def inspect_file(order: Order, record: Path) -> Stored:
    """A file or directory that is used in place."""
    path = Path(order.path)
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Stored(Content.ABSENT, message=f"{path} does not exist on this machine")
    if stat.S_ISDIR(state.st_mode):
        if order.sha256 is not None:
            return Stored(Content.REFUSED, message=f"{path} is a directory: source.file.sha256 is for a single file")
        return _listed(path, f"{path} is empty")
    if fault := _fault_of(path, state):
        return Stored(Content.REFUSED, message=fault)
    if order.sha256 is not None and not _recorded(record, order, state):
        return Stored(Content.INCOMPLETE)
    return Stored(Content.COMPLETE, str(path), state.st_size, 1, sha256=order.sha256)


def version_of(path: Path) -> tuple[int, int, int] | None:
    """Changes when the file does."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ino


def is_reserved(place: str) -> bool:
    """The storage as a whole, and names that we use in it ourselves."""
    parts = PurePosixPath(place).parts
    return not parts or parts[0].startswith(_REMOVING) or marker.ARKS_DIRECTORY in parts


def create(directory: Path, root: Path, by: str) -> None:
    """Make the directory, marked as ours; one that exists is adopted as it is. Raises Invalid, Unavailable."""
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not directory.resolve().is_relative_to(root.resolve()):
            raise Invalid(f"{directory} leads out of {root}")
        directory.parent.mkdir(parents=True, exist_ok=True)
        if not directory.exists():
            directory.mkdir()
            marker.mark_created(directory, by)
    except OSError as error:
        raise Unavailable(f"{error.filename or directory} cannot be made: {error.strerror}") from error


def remove(directory: Path, root: Path) -> Removal:
    """Remove a directory that is ours, whole or (after a kill) at the next start. Raises Unavailable."""
    if not directory.is_dir():
        return Removal.ABSENT
    if directory.is_symlink() or not marker.made_by_us(directory) or directory.resolve() == root.resolve():
        return Removal.KEPT
    condemned = root / f"{_REMOVING}{directory.name}-{os.getpid()}-{directory.stat().st_ino}"
    try:
        directory.replace(condemned)
        shutil.rmtree(condemned)
        _remove_empty_parents(directory.parent, root)
    except OSError as error:
        raise Unavailable(f"{error.filename or directory} cannot be removed: {error.strerror}") from error
    return Removal.REMOVED


def sweep(root: Path) -> None:
    """Finish removals that a kill has cut short."""
    for left in root.glob(f"{_REMOVING}*"):
        shutil.rmtree(left, ignore_errors=True)


def _remove_empty_parents(directory: Path, root: Path) -> None:
    while directory != root and directory.is_relative_to(root):
        try:
            directory.rmdir()
        except OSError:  # not empty: others live there
            return
        directory = directory.parent


def _marked(directory: Path, complete: marker.Complete) -> Stored:
    if broken := marker.broken_files(directory, complete.files):
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        return Stored(Content.DAMAGED, message=f"{broken[0]}{more}")
    single = complete.files[0].sha256 if len(complete.files) == 1 else None
    return Stored(
        Content.COMPLETE,
        path=str(directory / loadable([file.path for file in complete.files])),
        size_bytes=sum(file.size_bytes for file in complete.files),
        file_count=len(complete.files),
        sha256=single,
        revision=complete.revision,
    )


def _listed(directory: Path, if_empty: str) -> Stored:
    names: list[str] = []
    size = 0
    for path in _files(directory):
        state = path.stat()
        if path.suffix == ".gguf" and (fault := _fault_of(path, state)):
            return Stored(Content.REFUSED, message=fault)
        names.append(str(path.relative_to(directory)))
        size += state.st_size
    if not names:
        return Stored(Content.REFUSED, message=if_empty)
    return Stored(Content.COMPLETE, str(directory / loadable(names)), size, len(names))


def _files(directory: Path) -> Iterator[Path]:
    """Regular files under the directory, without ours; so many at most that a mistaken `/` does not hold us up."""
    found = 0
    for parent, children, names in os.walk(directory):
        children[:] = sorted(name for name in children if name != marker.ARKS_DIRECTORY)
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                found += 1
                yield path
            if found >= MAX_FILES:
                return


def _fault_of(path: Path, state: os.stat_result) -> str:
    """Why engines could not load this file; empty when nothing is seen."""
    if not stat.S_ISREG(state.st_mode):
        return f"{path} is neither a file nor a directory"
    if not os.access(path, os.R_OK):
        return f"{path} may not be read by the user that Arks runs as"
    if state.st_size == 0:
        return f"{path} is empty"
    if path.suffix == ".gguf":
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
        if magic != GGUF_MAGIC:
            return f"{path} is not a GGUF file: it begins with {magic!r} instead of {GGUF_MAGIC!r}"
    return ""


def _recorded(record: Path, order: Order, state: os.stat_result) -> bool:
    """Whether this very file was hashed before."""
    try:
        known = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return False
    wanted = {
        "path": order.path,
        "sha256": order.sha256,
        "size_bytes": state.st_size,
        "modified_ns": state.st_mtime_ns,
        "inode": state.st_ino,
    }
    return bool(known == wanted)
