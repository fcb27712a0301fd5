"""KV states in chunks with checksums."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from arks.engine.v1.ark_pb2 import FetchStateResponse

CHUNK_BYTES = 1024 * 1024


class BrokenState(Exception):
    """The chunks are not the state that was announced."""


def chunks(source: BinaryIO) -> Iterator[FetchStateResponse]:
    """The rest of a file in chunks."""
    offset = 0
    while data := source.read(CHUNK_BYTES):
        yield FetchStateResponse(offset=offset, data=data, crc32=zlib.crc32(data))
        offset += len(data)


class Assembly:
    """Checks the chunks of one state as they come."""

    def __init__(self, state_bytes: int) -> None:
        self._state_bytes = state_bytes
        self._received = 0

    def add(self, chunk: FetchStateResponse) -> bytes:
        """Return the chunk's bytes. Raises BrokenState."""
        if chunk.offset != self._received:
            raise BrokenState(f"a chunk begins at {chunk.offset} instead of {self._received}")
        if zlib.crc32(chunk.data) != chunk.crc32:
            raise BrokenState(f"the chunk at {chunk.offset} has a wrong checksum")
        self._received += len(chunk.data)
        if self._received > self._state_bytes:
            raise BrokenState(f"more than the announced {self._state_bytes} bytes")
        return chunk.data

    def end(self) -> None:
        """Raises BrokenState if bytes are missing."""
        if self._received != self._state_bytes:
            raise BrokenState(f"{self._received} of {self._state_bytes} bytes came")
