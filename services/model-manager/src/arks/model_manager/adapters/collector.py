"""Delete content of the store that no model links to, once the disk needs its space.

A file's count of links shows who uses it, so files of a model are never touched: those of an application's model, of a
revision that engines may still load, and of a download that gathers them. What an engine has open stays until it ends.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from arks.model_manager.domain.garbage import Disk, Unused, Watermarks, bytes_to_free, condemned

ReadDisk = Callable[[Path], Disk]


def read_disk(directory: Path) -> Disk:
    """Raises OSError."""
    usage = shutil.disk_usage(directory)
    return Disk(usage.total, usage.free)


class Collector:
    def __init__(self, root: Path | None, marks: Watermarks, disk: ReadDisk = read_disk) -> None:
        """`root`: the stores of a disk; None: there are none."""
        self._root = root
        self._marks = marks
        self._disk = disk

    def collect(self, needed_bytes: int = 0) -> int:
        """Delete what the watermarks and `needed_bytes` require. Returns the bytes of what was deleted."""
        if self._root is None or not self._root.is_dir():
            return 0
        with contextlib.suppress(OSError):
            wanted = bytes_to_free(self._disk(self._root), self._marks, needed_bytes)
            return sum(_deleted(content) for content in condemned(self._unused(), wanted)) if wanted else 0
        return 0

    def unused_bytes(self) -> int:
        return sum(content.size_bytes for content in self._unused())

    def _unused(self) -> Iterator[Unused]:
        for path in self._root.rglob("*") if self._root is not None else ():
            with contextlib.suppress(OSError):
                state = path.lstat()
                if path.is_file() and not path.is_symlink() and state.st_nlink == 1:
                    yield Unused(path, state.st_size, state.st_ctime_ns)


def _deleted(content: Unused) -> int:
    """A model may have linked to it meanwhile: then it stays."""
    with contextlib.suppress(OSError):
        if content.path.lstat().st_nlink == 1:
            content.path.unlink()
            return content.size_bytes
    return 0
