"""Hash files, and compare them with a source's listing."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from arks.model_manager.programs.sources.source import RemoteFile

_BLOCK_BYTES = 1 << 20


def update_with(digest: "hashlib._Hash", path: Path, on_position: Callable[[int], None] = lambda _: None) -> str:
    """The digest updated with the file's content, in hexadecimal. `on_position` gets the bytes read so far."""
    position = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            position += len(block)
            on_position(position)
    return digest.hexdigest()


def content_sha256(path: Path) -> str:
    return update_with(hashlib.sha256(), path)


def difference(path: Path, file: RemoteFile) -> str:
    """How the content of `path` differs from the source's file; empty if it does not."""
    size = path.stat().st_size
    if size != file.size_bytes:
        return f"{size} bytes instead of {file.size_bytes}"
    if file.sha256 is not None and (found := content_sha256(path)) != file.sha256:
        return f"SHA-256 is {found} instead of {file.sha256}"
    if file.git_sha1 is not None:
        blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        if (found := update_with(blob, path)) != file.git_sha1:
            return f"git's hash is {found} instead of {file.git_sha1}"
    return ""
