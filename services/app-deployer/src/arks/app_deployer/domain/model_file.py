"""Sizes of a model's file, and the memory that an engine needs for it. Standard library only."""

from dataclasses import dataclass
from pathlib import Path

_WORKING_BYTES = 128 * 2**20
"""Buffers for computing: measured 90 MB with the smallest models, a few 100 MB with large ones."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    path: Path
    size_bytes: int
    """Of all shards."""
    kv_bytes_per_token: int
    """Of the KV cache in 16-bit floats; 0 if the header does not contain it."""
    trained_context_tokens: int
    """0 if the header does not contain it."""

    def memory_bytes(self, context_tokens: int, kv_scale: float = 1.0) -> int:
        """Weights, KV cache and working buffers. `kv_scale`: size of a KV element in units of 16 bits."""
        return self.size_bytes + int(self.kv_bytes_per_token * context_tokens * kv_scale) + _WORKING_BYTES
