"""A file that is partly there, and a table of which parts.

The table is a memory map of one number a chunk: the bytes of it that are in the file. A kill at any moment loses at
most the block that each stream was writing. After a power cut the table may be ahead of the file: the hash shows that,
and for files without one the table is written only after the data.
"""

import mmap
import os
import threading
from pathlib import Path
from types import TracebackType

MIN_CHUNK_BYTES = 8 << 20
MAX_CHUNK_BYTES = 64 << 20
_CHUNKS = 64
_NUMBER_BYTES = 8
_FOLLOW_BYTES = 512 << 10
"""`follow` is woken each time so much of a chunk has arrived, and returns at most so much: it stays in the cache."""


def chunk_bytes(size_bytes: int) -> int:
    """Bytes of each request: few requests for large files, because hubs limit their number."""
    return min(MAX_CHUNK_BYTES, max(MIN_CHUNK_BYTES, -(-size_bytes // _CHUNKS)))


class PartialFile:
    """`path` and, beside it, `path.map`. Chunks are written by one thread each."""

    def __init__(self, path: Path, size_bytes: int, *, ranges: bool = True, durable: bool = False) -> None:
        """`ranges`: False keeps nothing of an earlier attempt. `durable`: the table is never ahead of the disk."""
        self.size_bytes = size_bytes
        self._chunk_bytes = chunk_bytes(size_bytes) if ranges else max(1, size_bytes)
        self.count = -(-size_bytes // self._chunk_bytes)
        self._durable = durable
        self._changed = threading.Condition()
        self._failed = False
        self._buffer = memoryview(bytearray(min(size_bytes, _FOLLOW_BYTES)))
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._table = self._open_table(path, keep=ranges)
            self._written = list(self._table[: self.count])
            self._done_bytes = sum(self._written)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _open_table(self, path: Path, *, keep: bool) -> memoryview:
        table = table_of(path)
        length = max(1, self.count) * _NUMBER_BYTES
        here = os.fstat(self._descriptor).st_size
        known = table.exists() and table.stat().st_size == length
        with table.open("r+b" if known else "w+b") as file:
            file.truncate(length)
            self._map = mmap.mmap(file.fileno(), length)
        numbers = memoryview(self._map).cast("Q")
        for index in range(self.count):
            limit = min(self.length(index), max(0, here - index * self._chunk_bytes))
            # an earlier version wrote files from their beginning, without a table
            numbers[index] = (min(numbers[index], limit) if known else limit) if keep else 0
        return numbers

    def length(self, index: int) -> int:
        return min(self._chunk_bytes, self.size_bytes - index * self._chunk_bytes)

    def missing(self, index: int) -> tuple[int, int]:
        """Where the missing bytes of a chunk begin and end."""
        start = index * self._chunk_bytes
        return start + self._written[index], start + self.length(index)

    @property
    def done_bytes(self) -> int:
        return self._done_bytes

    def write(self, index: int, block: bytes) -> None:
        """Append to a chunk. Raises OSError, and ValueError for more bytes than the chunk has."""
        position, end = self.missing(index)
        if position + len(block) > end:
            raise ValueError("more bytes than were requested")
        view = memoryview(block)
        while view:
            written = os.pwrite(self._descriptor, view, position)
            position, view = position + written, view[written:]
        if self._durable and position == end:
            os.fdatasync(self._descriptor)
        with self._changed:
            before = self._written[index]
            self._written[index] = here = position - index * self._chunk_bytes
            self._done_bytes += here - before
            if not self._durable or position == end:
                self._table[index] = here
            if position == end or before // _FOLLOW_BYTES != here // _FOLLOW_BYTES:
                self._changed.notify_all()

    def fail(self) -> None:
        """End `follow`: a chunk cannot be completed."""
        with self._changed:
            self._failed = True
            self._changed.notify_all()

    def follow(self, position: int) -> memoryview | None:
        """The next bytes from `position` on, as soon as there are some; empty at the end, None after `fail`.

        They are valid until the next call.
        """
        if position >= self.size_bytes:
            return self._buffer[:0]
        index = position // self._chunk_bytes
        with self._changed:
            self._changed.wait_for(lambda: self._failed or self.missing(index)[0] > position)
            if self._failed:
                return None
            available = self.missing(index)[0] - position
        count = os.preadv(self._descriptor, [self._buffer[: min(available, _FOLLOW_BYTES)]], position)
        return self._buffer[:count]

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        self._table.release()
        self._map.close()
        os.close(self._descriptor)

    def __enter__(self) -> "PartialFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def table_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.map")


def bytes_in(path: Path, size_bytes: int) -> int:
    """How much of a file of this size an earlier attempt has left in `path`. Raises OSError."""
    if not path.exists():
        return 0
    with PartialFile(path, size_bytes) as partial:
        return partial.done_bytes


def discard(path: Path) -> None:
    path.unlink(missing_ok=True)
    table_of(path).unlink(missing_ok=True)
