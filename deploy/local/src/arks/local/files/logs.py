"""Read the ends of log files, and bound their size."""

import os
import shutil
from pathlib import Path

from arks.kit import files

MAX_LOG_BYTES = 16 * 1024**2
_LINE_CHARACTERS = 400


def last_lines(path: Path, count: int) -> tuple[str, ...]:
    """At most `count` lines from the end, without empty ones, long ones cut; none if there is no such file."""
    return tuple(files.last_lines(path, count, max_characters=_LINE_CHARACTERS))


def contains(path: Path, text: str, start: int) -> bool:
    """Whether the log has a text from this byte on; from its begin if it was emptied since."""
    try:
        with path.open("rb") as log:
            log.seek(start if start <= path.stat().st_size else 0)
            return text.encode() in log.read(MAX_LOG_BYTES)
    except OSError:
        return False


def size_of(path: Path) -> int:
    """In bytes; 0 if there is no such file."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def limit_size(path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Move the content to `<name>.1` if the file is larger. Its writers append, so they continue at its start."""
    try:
        if path.stat().st_size > max_bytes:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)
    except OSError:  # a full disk or a deleted file must not stop the program
        return
