"""Writes files atomically and reads the last lines of logs."""

import os
from pathlib import Path

_BLOCK_BYTES = 64 * 1024
DEFAULT_TAIL_BYTES = 16 * 1024**2


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o666, durable: bool = False) -> None:
    """Replace the file in one step: a reader sees the old content or the new. Raises OSError.

    `mode`: permissions of the new file, less the umask. `durable`: the content reaches the disk before the rename, so
    that the file is whole after a power cut too.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def tail(path: Path, count: int, max_bytes: int = DEFAULT_TAIL_BYTES) -> list[str]:
    """The last `count` lines within the last `max_bytes`; none if the file cannot be read."""
    if count <= 0:
        return []
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start, block = end, b""
            while start > 0 and block.count(b"\n") <= count and end - start < max_bytes:
                start = max(0, start - _BLOCK_BYTES, end - max_bytes)
                file.seek(start)
                block = file.read(end - start)
    except OSError:
        return []
    return block.decode(errors="replace").splitlines()[-count:]


def last_lines(path: Path, count: int, *, max_characters: int, max_bytes: int = _BLOCK_BYTES) -> list[str]:
    """At most `count` lines that are not empty, each cut after `max_characters`; none if the file cannot be read."""
    lines = [line.rstrip()[:max_characters] for line in tail(path, max_bytes, max_bytes) if line.strip()]
    return lines[-count:]
