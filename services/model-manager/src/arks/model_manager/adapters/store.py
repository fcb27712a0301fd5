"""Files kept once by SHA-256: models that share content share its bytes, by hard links.

A file of the store that only the store links to belongs to no model any more, and `collector` may delete it: the file
system counts the users, so that no record of them can be wrong. Where hard links do not work, every model keeps its own
files.
"""

import contextlib
import hashlib
from pathlib import Path


class Store:
    def __init__(self, root: Path | None) -> None:
        """`root`: on the file system of the models; None keeps nothing."""
        self._root = root

    def link(self, sha256: str, size_bytes: int, target: Path) -> bool:
        """Make `target` a link to the content, after a check of its hash. False if there is none."""
        kept = self._path(sha256)
        if kept is None:
            return False
        try:
            if kept.stat().st_size != size_bytes or not _has(kept, sha256):
                kept.unlink()
                return False
            _link(kept, target)
        except OSError:
            return False
        return True

    def add(self, sha256: str, path: Path) -> None:
        """Keep the content of `path`, which becomes a link to it. `path` was just hashed."""
        kept = self._path(sha256)
        if kept is None:
            return
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            try:
                kept.hardlink_to(path)
            except FileExistsError:
                if not kept.samefile(path):
                    self.link(sha256, path.stat().st_size, path)

    def _path(self, sha256: str) -> Path | None:
        return None if self._root is None else self._root / sha256[:2] / sha256


def _link(kept: Path, target: Path) -> None:
    """Replace `target` at once. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{target.name}.link")
    new.unlink(missing_ok=True)
    new.hardlink_to(kept)
    new.replace(target)


def _has(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except PermissionError:  # root of a tenant may change the mode of a file
        return False
