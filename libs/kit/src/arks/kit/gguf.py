"""The header of a GGUF file: is it whole, and how much memory does the model take?

Standard library only: the engine program uses it too.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (little endian, versions 2 and 3).
"""

import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MOST_ENTRIES = 1_000_000
_KEPT_ARRAY_ITEMS = 4096
"""Longer arrays are vocabularies: skipped."""

# Tensor type -> (elements in a block, bytes of a block), from ggml's type traits.
# fmt: off
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}
# fmt: on
SHARD = re.compile(r"-(\d{5})-of-(\d{5})(\.gguf)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a model's header shows."""

    size_bytes: int
    """Of all shards."""
    kv_bytes_per_token: int
    """Of the KV cache in 16-bit floats; 0 if the header does not contain it."""
    trained_context_tokens: int
    """0 if the header does not contain it."""


class BadModelFile(Exception):
    """The file is no usable model; the message gives the reason."""


def read(path: Path) -> Sizes:
    """Check the file (all parts of a split one) and measure it. Raises BadModelFile."""
    parts = _shards(path)
    metadata, *_ = [_read_part(part) for part in parts]
    return Sizes(
        size_bytes=sum(part.stat().st_size for part in parts),
        kv_bytes_per_token=_kv_bytes_per_token(metadata),
        trained_context_tokens=_int(metadata, "context_length"),
    )


def _shards(path: Path) -> list[Path]:
    if (shard := SHARD.search(path.name)) is None:
        return [path]
    stem = path.name[: shard.start()]
    return [path.with_name(f"{stem}-{number:05d}-of-{shard[2]}{shard[3]}") for number in range(1, int(shard[2]) + 1)]


def _read_part(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data, path).metadata()
    except FileNotFoundError:
        raise BadModelFile(f"there is no file {path}") from None
    except (OSError, ValueError) as error:  # mmap raises ValueError for an empty file
        size = path.stat().st_size if path.is_file() else 0
        why = "is empty" if size == 0 else f"cannot be read: {error}"
        raise BadModelFile(f"{path} {why}") from error


class _Reader:
    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data = data
        self._path = path
        self._offset = 4

    def metadata(self) -> dict[str, Any]:
        if self._data[:4] != _MAGIC:
            raise BadModelFile(f"{self._path} is not a GGUF file: it starts with {bytes(self._data[:4])!r}")
        version = self._scalar("I")
        if version not in {2, 3}:
            raise BadModelFile(f"{self._path} has GGUF version {version}; 2 and 3 can be read")
        tensors, entries = self._count(), self._count()
        metadata = {self._string(): self._value(self._scalar("I")) for _ in range(entries)}
        self._check_size(tensors, int(metadata.get("general.alignment", 32)))
        return metadata

    def _check_size(self, tensors: int, alignment: int) -> None:
        """The last byte of the tensors must lie within the file: a download that stopped half-way does not."""
        ends = [self._tensor_end() for _ in range(tensors)]
        start = -(-self._offset // alignment) * alignment if alignment > 0 else self._offset
        if (desired := start + max(ends, default=0)) > len(self._data):
            raise BadModelFile(
                f"{self._path} is cut off: its header promises {desired} bytes, it has {len(self._data)}"
            )

    def _tensor_end(self) -> int:
        self._string()
        elements = 1
        for _ in range(self._scalar("I")):
            elements *= self._scalar("Q")
        block, size = _BLOCKS.get(self._scalar("I"), (1, 0))
        return int(self._scalar("Q")) + -(-elements // block) * size

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        if kind not in _SCALARS:
            raise BadModelFile(f"{self._path} is corrupt: unknown value type {kind} at byte {self._offset}")
        return self._scalar(_SCALARS[kind])

    def _array(self) -> list[Any]:
        kind, length = self._scalar("I"), self._scalar("Q")
        self._check_fits(length)
        if length > _KEPT_ARRAY_ITEMS and kind in _SCALARS:
            self._skip(length * struct.calcsize(f"<{_SCALARS[kind]}"))
            return []
        values = [self._value(kind) for _ in range(length)]
        return values if length <= _KEPT_ARRAY_ITEMS else []

    def _string(self) -> str:
        length = self._scalar("Q")
        start = self._offset
        self._skip(length)
        return self._data[start : self._offset].decode("utf-8", "replace")

    def _count(self) -> int:
        count = self._scalar("Q")
        if count > _MOST_ENTRIES:
            raise BadModelFile(f"{self._path} is corrupt: its header counts {count} entries")
        return int(count)

    def _scalar(self, form: str) -> Any:
        start = self._offset
        self._skip(struct.calcsize(f"<{form}"))
        return struct.unpack_from(f"<{form}", self._data, start)[0]

    def _skip(self, length: int) -> None:
        self._check_fits(length)
        self._offset += length

    def _check_fits(self, length: int) -> None:
        if self._offset + length > len(self._data):
            raise BadModelFile(f"{self._path} is corrupt: its header ends beyond the file")


def _kv_bytes_per_token(metadata: Mapping[str, Any]) -> int:
    """Keys and values of all layers, 2 bytes an element."""
    layers, heads = _int(metadata, "block_count"), _int(metadata, "attention.head_count")
    kv_heads = _of_architecture(metadata, "attention.head_count_kv", heads)
    head = _int(metadata, "embedding_length") // heads if heads else 0
    size = _int(metadata, "attention.key_length", head) + _int(metadata, "attention.value_length", head)
    all_kv_heads = sum(kv_heads) if isinstance(kv_heads, list) else int(kv_heads) * layers
    return 2 * size * all_kv_heads


def _int(metadata: Mapping[str, Any], name: str, default: int = 0) -> int:
    value = _of_architecture(metadata, name, default)
    return max(value, default=0) if isinstance(value, list) else int(value)


def _of_architecture(metadata: Mapping[str, Any], name: str, default: int) -> Any:
    return metadata.get(f"{metadata.get('general.architecture', '')}.{name}", default)
