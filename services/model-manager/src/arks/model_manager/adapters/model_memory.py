"""Read what a complete model's memory depends on: the header of a GGUF file, or config.json and the sizes of files."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from arks.contracts.resources import ModelMemory
from arks.kit import gguf
from arks.model_manager.domain.engine_file import is_gguf
from arks.model_manager.domain.memory import memory_of, weights_bytes

_MOST_BYTES = 32 << 20
"""Of a JSON file; the index of the largest models has 10 MB."""
_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"


def measure(path: Path, sizes: Mapping[str, int]) -> ModelMemory | None:
    """`path`: what engines load. `sizes`: of the model's files. None if it cannot be known."""
    if path.is_dir():
        return _of_directory(path, sizes)
    if not is_gguf(path.name):
        return None
    state = path.stat()
    return _of_gguf(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _of_gguf(path: Path, _modified_ns: int, _size_bytes: int) -> ModelMemory | None:
    """Reading a header takes 0.1 s, and each ready model is inspected every few seconds."""
    try:
        sizes = gguf.read(path)
    except (gguf.BadModelFile, OSError):
        return None
    return ModelMemory(
        weights_bytes=sizes.size_bytes,
        kv_cache_bytes_per_token=sizes.kv_bytes_per_token or None,
        context_tokens=sizes.trained_context_tokens or None,
    )


def _of_directory(directory: Path, sizes: Mapping[str, int]) -> ModelMemory | None:
    config = _json(directory / _CONFIG)
    if config is None:
        return None
    metadata = (_json(directory / _INDEX) or {}).get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    found = weights_bytes(sizes, total if isinstance(total, int) and total > 0 else None)
    return memory_of(config, found) if found else None


def _json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None if there is none that can be read."""
    try:
        state = path.stat()
        return _read(path, state.st_mtime_ns, state.st_size) if state.st_size <= _MOST_BYTES else None
    except OSError:
        return None


@lru_cache(maxsize=256)
def _read(path: Path, _modified_ns: int, _size_bytes: int) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    return {"metadata": content.get("metadata")} if path.name == _INDEX else content
