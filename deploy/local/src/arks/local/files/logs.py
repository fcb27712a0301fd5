"""The ends of log files, and keeping log files from growing without bound."""

import os
import shutil
from pathlib import Path

LOG_BYTES = 16 * 1024**2
_LINE_BYTES = 400
_BLOCK_BYTES = 64 * 1024


def last_lines(path: Path, count: int) -> tuple[str, ...]:
    """At most `count` lines from the end, empty ones left out, long ones cut. None when there is no such file."""
    return tuple(line[:_LINE_BYTES] for line in tail(path, count, _BLOCK_BYTES) if line.strip())


def tail(path: Path, count: int, most_bytes: int = 16 * 1024**2) -> list[str]:
    """The last `count` lines within the last `most_bytes`; none when there is no such file."""
    if count <= 0:
        return []
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start, block = end, b""
            while start > 0 and block.count(b"\n") <= count and end - start < most_bytes:
                start = max(0, start - _BLOCK_BYTES)
                file.seek(start)
                block = file.read(end - start)
    except OSError:
        return []
    lines = block.decode(errors="replace").splitlines()
    return lines[-count:]


def limit_size(path: Path, most_bytes: int = LOG_BYTES) -> None:
    """Past the limit the content moves to `<name>.1`. Writers append, so they go on at its start."""
    try:
        if path.stat().st_size > most_bytes:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)
    except OSError:  # the disk is full, or somebody took the file away: the program must go on
        return
