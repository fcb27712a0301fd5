"""The volume of a namespace: what its engines mount, and what a process of the namespace that runs as root may change.

Nothing in it is trusted. Names are resolved one by one from the descriptor of the directory above, and no link is
followed, so links that were planted there lead nowhere. A volume shows the agent's own files by hard links, and
nothing is ever read from it. Blocking.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath

from arks.model_manager.domain.storage_path import ARKS_DIRECTORY

MARKER = "complete.json"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMES = 10_000
"""Of a directory, that are read at once."""
_PASSES = 10_000
"""Of one removal: names may come as fast as they are removed."""


class Volume:
    def __init__(self, root: Path) -> None:
        """`root`: its parent directories are the agent's alone."""
        self._root = root

    def shows(self, path: str, content: Path, files: Collection[str]) -> bool:
        """Whether the directory `path` has these files of `content`, and a marker of the same size as there."""
        try:
            with _entered(self._root, path) as at:
                same = all(_is_link(at, name, content / name) for name in files)
                found = _state(at, _MARKER_PATH)
                return same and stat.S_ISREG(found.st_mode) and found.st_size == (content / _MARKER_PATH).stat().st_size
        except OSError:
            return False

    def show(self, path: str, content: Path, files: Iterable[str]) -> None:
        """Make `path` a directory of links to the files of `content`, with a copy of its marker. Raises OSError.

        It is built beside the old one and takes its place at once. Engines keep what they have open.
        """
        self._root.mkdir(mode=0o755, parents=True, exist_ok=True)
        above, name = _split(path)
        with _entered(self._root, above, create=True) as at:
            fresh, old = _unused(), _unused()
            try:
                with _entered(at, fresh, create=True) as inner:
                    for file in files:
                        _link(inner, file, content / file)
                    _write(inner, _MARKER_PATH, (content / _MARKER_PATH).read_bytes())
                with contextlib.suppress(FileNotFoundError):
                    os.rename(name, old, src_dir_fd=at, dst_dir_fd=at)
                os.rename(fresh, name, src_dir_fd=at, dst_dir_fd=at)
            finally:
                _remove(at, fresh)
                _remove(at, old)

    def keep(self, paths: Iterable[str]) -> None:
        """Remove everything else. What cannot be removed stays. Raises OSError."""
        with _entered(self._root) as at:
            _keep(at, [PurePosixPath(path).parts for path in paths])


_MARKER_PATH = f"{ARKS_DIRECTORY}/{MARKER}"


@contextmanager
def _entered(root: Path | int, path: str = "", *, create: bool = False) -> Iterator[int]:
    """The descriptor of a directory below `root`, which is a path or a descriptor. `create`: anything else in the
    place of a directory is replaced by one. Raises OSError."""
    descriptor = os.dup(root) if isinstance(root, int) else os.open(root, _DIRECTORY)
    try:
        for part in PurePosixPath(path).parts:
            inner = _enter(descriptor, part, create=create)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(at: int, name: str, *, create: bool) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=at)
    except OSError:
        if not create:
            raise
    _remove(at, name)
    os.mkdir(name, 0o755, dir_fd=at)
    return os.open(name, _DIRECTORY, dir_fd=at)


def _split(path: str) -> tuple[str, str]:
    return str(PurePosixPath(path).parent), PurePosixPath(path).name


def _link(at: int, path: str, file: Path) -> None:
    above, name = _split(path)
    with _entered(at, above, create=True) as inner:
        os.link(file, name, dst_dir_fd=inner, follow_symlinks=False)


def _write(at: int, path: str, content: bytes) -> None:
    above, name = _split(path)
    with _entered(at, above, create=True) as inner:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o644, dir_fd=inner), "wb") as opened:
            opened.write(content)


def _state(at: int, path: str) -> os.stat_result:
    above, name = _split(path)
    with _entered(at, above) as inner:
        return os.stat(name, dir_fd=inner, follow_symlinks=False)


def _is_link(at: int, path: str, file: Path) -> bool:
    return os.path.samestat(_state(at, path), file.lstat())


def _keep(at: int, paths: Sequence[Sequence[str]]) -> None:
    for name in _names(at):
        below = [path[1:] for path in paths if path[0] == name]
        with contextlib.suppress(OSError):
            if not below:
                _remove(at, name)
            elif all(below):
                with _entered(at, name) as inner:
                    _keep(inner, below)


def _remove(at: int, name: str) -> None:
    """Of any depth: directories inside are moved up and emptied one by one. Raises OSError."""
    pending = [name]
    for _ in range(_PASSES):
        if not pending:
            return
        if _unlinked(at, pending[-1]):
            pending.pop()
            continue
        with _entered(at, pending[-1]) as inner:
            inside = [entry for entry in _names(inner) if not _unlinked(inner, entry)]
            moved = {entry: _unused() for entry in inside}
            for entry, above in moved.items():
                os.rename(entry, above, src_dir_fd=inner, dst_dir_fd=at)
        with contextlib.suppress(OSError):  # more names than were read
            os.rmdir(pending[-1], dir_fd=at)
            pending.pop()
        pending.extend(moved.values())
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)


def _unlinked(at: int, name: str) -> bool:
    """False for a directory, which stays. Raises OSError."""
    try:
        os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        return True
    except IsADirectoryError:
        return False
    return True


def _names(at: int) -> list[str]:
    with os.scandir(at) as entries:
        return [entry.name for entry in islice(entries, _NAMES)]


def _unused() -> str:
    return f"{ARKS_DIRECTORY}-{secrets.token_hex(8)}"
