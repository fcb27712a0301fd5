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


class LogSearch:
    """Searches a log that grows for a text, from its present end on. Each call reads only what is new."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text.encode()
        self._position = size_of(path)
        self._end = b""
        """Of what was read: the text may begin in it."""
        self._found = False

    def found(self) -> bool:
        """Whether the log has had the text, since the begin of the search."""
        self._found = self._found or self._text in self._new()
        return self._found

    def _new(self) -> bytes:
        size = size_of(self._path)
        if size < self._position:  # it was emptied
            self._position, self._end = 0, b""
        if size == self._position:
            return b""
        try:
            with self._path.open("rb") as log:
                log.seek(self._position)
                new = self._end + log.read(MAX_LOG_BYTES)
        except OSError:
            return b""
        self._position += len(new) - len(self._end)
        self._end = new[max(0, len(new) - len(self._text) + 1) :]
        return new


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
