"""The memory that a model takes, from its configuration.

`config.json` as transformers writes it: https://huggingface.co/docs/transformers/main_classes/configuration
"""

from collections.abc import Mapping, Sequence
from typing import Any

from arks.contracts.resources import ModelMemory

_ELEMENT_BYTES = {"float32": 4, "float64": 8}
"""Of the KV cache; other types are 16 bits, or quantised weights whose cache has 16 bits."""
_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")
"""Formats of weights, the preferred one first: engines load one of them."""


def memory_of(config: Mapping[str, Any], weights_bytes: int) -> ModelMemory:
    """`config`: the content of config.json; a multimodal model has that of its text beneath `text_config`."""
    text = config.get("text_config") if isinstance(config.get("text_config"), Mapping) else None
    merged = {**config, **(text or {})}
    return ModelMemory(
        weights_bytes=weights_bytes,
        kv_cache_bytes_per_token=_kv_bytes(merged),
        context_tokens=_number(merged, "max_position_embeddings") or None,
    )


def weights_bytes(sizes: Mapping[str, int], index_total: int | None) -> int:
    """`sizes`: of all files by path. `index_total`: of model.safetensors.index.json.

    A repository may hold the same weights in several formats, and once more for other engines (`consolidated`).
    """
    if index_total:
        return index_total
    for suffix in _WEIGHTS:
        chosen = [path for path in sizes if path.endswith(suffix) and "/" not in path]
        usual = [path for path in chosen if not path.startswith(("consolidated", "training_args", "optimizer"))]
        if found := usual or chosen:
            return sum(sizes[path] for path in found)
    return 0


def _kv_bytes(config: Mapping[str, Any]) -> int | None:
    """Of one token in all layers; None if the configuration does not show it."""
    layers = _number(config, "num_hidden_layers")
    element = _ELEMENT_BYTES.get(str(config.get("torch_dtype") or config.get("dtype")), 2)
    if latent := _number(config, "kv_lora_rank"):  # multi-head latent attention keeps one vector a layer
        return layers * (latent + _number(config, "qk_rope_head_dim")) * element or None
    heads = _number(config, "num_attention_heads")
    kv_heads = _number(config, "num_key_value_heads") or heads
    head = _number(config, "head_dim") or (_number(config, "hidden_size") // heads if heads else 0)
    kinds = config.get("layer_types")
    if isinstance(kinds, Sequence) and not isinstance(kinds, str):  # layers of linear attention keep no KV cache
        layers = sum("attention" in str(kind) and "linear" not in str(kind) for kind in kinds)
    return 2 * layers * kv_heads * head * element or None


def _number(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
