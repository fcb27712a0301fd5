"""A log on disk: which file comes next, how far it was read, rotation, and a bound on all of it.

A gateway's filter writes two: `usage.log` and `usage.log.starts`. To rotate, a log is renamed to `<name>.<number>`; the
filter opens a new file within a second, and Envoy's own logger, which an endpoint-router of the version before
configures, on request. The renamed segment is read to its end, and deleted once the shipper's state has moved past it.
The state keeps the position (file, by inode, and offset): if a file were deleted first, a new one could get its inode,
and be read from that offset.

Reads are short and from the page cache, so they are done in the event loop: a thread would cost more than it saves.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from arks.token_quota.programs.shipper.state import Position

READ_BYTES = 2**20
"""About 6,000 lines. A line longer than this is garbage and is skipped."""
SETTLE_SECONDS = 2.0
"""How long a renamed segment may still grow: the filter opens its file every second."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of one segment, and where they end."""

    data: bytes
    """With their newlines."""
    end_bytes: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """A segment that is deleted unread."""

    name: str
    size_bytes: int


class _Open:
    """The segment that is being read."""

    def __init__(self, path: Path, offset_bytes: int) -> None:
        """Raises FileNotFoundError."""
        self.fd = os.open(path, os.O_RDONLY)
        self.path = path
        self.offset_bytes = offset_bytes
        self.at_end_since: float | None = None
        self.inode = os.fstat(self.fd).st_ino

    def size_bytes(self) -> int:
        return os.fstat(self.fd).st_size

    def lies_at(self, path: Path) -> bool:
        return _inode(path) == self.inode


class Segments:
    def __init__(self, path: Path, *, monotonic: Callable[[], float], position: Position | None = None) -> None:
        self.path = path
        self.position = position
        self._monotonic = monotonic
        self._open: _Open | None = None
        self._finished: set[int] = set()
        """Inodes of segments that the position has moved past. They exist, so no other file has them."""
        self.truncations = 0
        """Times that a segment became shorter than what was read of it, and lines that were cut off."""
        self.overlong_lines = 0

    @property
    def at_newest(self) -> bool:
        """Whether the file that is read is the one that is written: no newer one waits."""
        return self._open is None or self._open.lies_at(self.path) or not self.path.exists()

    # --- reading

    def read(self) -> Chunk | None:
        """The next lines, or None when there are none yet. Without `advance` the next call returns the same
        lines.
        """
        while True:
            opened = self._open or self._open_next()
            if opened is None:
                return None
            chunk = self._read(opened)
            if chunk is not None or self._open is not None:
                return chunk

    def advance(self, chunk: Chunk) -> None:
        """These lines are taken."""
        if self._open is not None:
            self._open.offset_bytes = chunk.end_bytes
            self.position = Position(self._open.inode, chunk.end_bytes)

    def close(self) -> None:
        if self._open is not None:
            os.close(self._open.fd)
            self._open = None

    def _read(self, opened: _Open) -> Chunk | None:
        """None with the segment still open: wait; None with it closed: it is done, go on to the next."""
        if opened.size_bytes() < opened.offset_bytes:
            self.truncations += 1
            opened.offset_bytes = 0
        data = os.pread(opened.fd, READ_BYTES, opened.offset_bytes)
        end = data.rfind(b"\n") + 1
        if end:
            opened.at_end_since = None
            return Chunk(data[:end], opened.offset_bytes + end)
        if len(data) == READ_BYTES:
            self.overlong_lines += 1
            return Chunk(b"", opened.offset_bytes + len(data))
        if self._is_done(opened):
            self.truncations += bool(data)
            self._finish(opened.inode)
        return None

    def _is_done(self, opened: _Open) -> bool:
        """Read to its end, put aside, and long enough so that its writers write elsewhere."""
        if opened.lies_at(self.path) or not self.path.exists():
            opened.at_end_since = None
            return False
        now = self._monotonic()
        if opened.at_end_since is None:
            opened.at_end_since = now
        return now - opened.at_end_since >= SETTLE_SECONDS

    def _finish(self, inode: int) -> None:
        self._finished.add(inode)
        if self._open is not None and self._open.inode == inode:
            self.close()

    def delete_finished(self, saved: Position | None) -> None:
        """Delete the segments that `saved`, the position in the state file, has moved past."""
        if not self._finished or saved != self.position:
            return
        for file in self._files():
            if _inode(file) in self._finished:
                file.unlink(missing_ok=True)
        self._finished.clear()

    def _open_next(self) -> _Open | None:
        """The segment that the position names, else the oldest. None when there is none. Those before the position
        remain where a shipper was killed before it deleted them.
        """
        segments = self.all()
        if not segments:
            self.position = None
            return None
        position = self.position or Position(0, 0)
        inodes = [_inode(segment) for segment in segments]
        known = segments[inodes.index(position.inode)] if position.inode in inodes else None
        if known is not None:
            self._finished.update(inode for inode in inodes[: segments.index(known)] if inode is not None)
        try:
            self._open = _Open(known or segments[0], 0 if known is None else position.offset_bytes)
        except FileNotFoundError:
            return None
        self.position = Position(self._open.inode, self._open.offset_bytes)
        return self._open

    # --- files

    def all(self) -> list[Path]:
        """Every segment that is not finished, oldest first; the last one is the file that is written, if it exists."""
        files = self._files()
        return [file for file in files if _inode(file) not in self._finished] if self._finished else files

    def _files(self) -> list[Path]:
        prefix = self.path.name + "."
        numbered = [
            (int(number), found)
            for found in self.path.parent.glob(prefix + "*")
            if (number := found.name.removeprefix(prefix)).isdigit()
        ]
        return [found for _, found in sorted(numbered)] + ([self.path] if self.path.exists() else [])

    def current_bytes(self) -> int:
        return _size(self.path)

    def total_bytes(self) -> int:
        return sum(_size(segment) for segment in self.all())

    def unread_bytes(self) -> int:
        """Lines that wait, in all segments."""
        return max(0, self.total_bytes() - (0 if self._open is None else self._open.offset_bytes))

    def rotate(self) -> None:
        """Put the current file aside. Envoy goes on writing into it until it opens its log again."""
        rotated = [file for file in self._files() if file != self.path]
        last = int(rotated[-1].name.rpartition(".")[2]) if rotated else 0
        aside = self.path.with_name(f"{self.path.name}.{last + 1}")
        reading_it = self._open is not None and self._open.lies_at(self.path)
        self.path.rename(aside)
        if self._open is not None and reading_it:
            self._open.path = aside

    def drop_oldest(self, max_total_bytes: int) -> list[Dropped]:
        """Finish the oldest segments until the rest fits; the file that is written stays."""
        dropped: list[Dropped] = []
        segments = self.all()
        total = sum(_size(segment) for segment in segments)
        for segment in segments:
            if total <= max_total_bytes or segment == self.path:
                break
            size, inode = _size(segment), _inode(segment)
            if inode is not None:
                self._finish(inode)
            total -= size
            dropped.append(Dropped(segment.name, size))
        if dropped and self._open is None:
            self._open_next()  # moves the position past them
        return dropped


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
