"""Memory of well-known models, from their config.json."""

from typing import Any

import pytest

from arks.model_manager.domain.memory import memory_of, weights_bytes

QWEN_2_5_7B = {
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "hidden_size": 3584,
    "max_position_embeddings": 32768,
    "torch_dtype": "bfloat16",
}
LLAMA_3_8B = {
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "max_position_embeddings": 8192,
}
DEEPSEEK_V3 = {
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "hidden_size": 7168,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "max_position_embeddings": 163840,
}
GEMMA_3_4B = {
    "text_config": {
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_size": 2560,
        "max_position_embeddings": 131072,
    }
}
QWEN_3_NEXT = {
    "num_hidden_layers": 4,
    "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "max_position_embeddings": 262144,
}


@pytest.mark.parametrize(
    ("config", "kv_bytes", "context_tokens"),
    [
        (QWEN_2_5_7B, 2 * 28 * 4 * 128 * 2, 32768),
        (LLAMA_3_8B, 131_072, 8192),
        (DEEPSEEK_V3, 70_272, 163840),
        (GEMMA_3_4B, 2 * 34 * 4 * 256 * 2, 131072),
        (QWEN_3_NEXT, 2 * 1 * 2 * 256 * 2, 262144),
        (QWEN_2_5_7B | {"torch_dtype": "float32"}, 2 * 28 * 4 * 128 * 4, 32768),
        ({}, None, None),
        ({"num_hidden_layers": "many", "num_attention_heads": True}, None, None),
    ],
)
def test_the_kv_cache_of_a_token_follows_from_the_configuration(
    config: dict[str, Any], kv_bytes: int | None, context_tokens: int | None
) -> None:
    found = memory_of(config, 10)
    expected = (10, kv_bytes, context_tokens)
    assert expected == (found.weights_bytes, found.kv_cache_bytes_per_token, found.context_tokens)


@pytest.mark.parametrize(
    ("sizes", "index_total", "expected"),
    [
        ({"model-00001-of-00002.safetensors": 5, "model-00002-of-00002.safetensors": 4, "config.json": 1}, 9, 9),
        ({"model.safetensors": 7, "pytorch_model.bin": 7, "tokenizer.json": 2}, None, 7),
        ({"model.safetensors": 7, "consolidated.safetensors": 7, "original/consolidated.00.pth": 7}, None, 7),
        ({"consolidated.safetensors": 7}, None, 7),
        ({"pytorch_model.bin": 8, "training_args.bin": 1}, None, 8),
        ({"config.json": 1}, None, 0),
    ],
)
def test_weights_are_counted_once(sizes: dict[str, int], index_total: int | None, expected: int) -> None:
    assert expected == weights_bytes(sizes, index_total)
