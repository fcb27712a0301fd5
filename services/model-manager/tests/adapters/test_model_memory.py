"""Memory of a model's files."""

import json
from pathlib import Path

import pytest

from arks.contracts.resources import ModelMemory
from arks.model_manager.adapters.model_memory import measure

CONFIG = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "max_position_embeddings": 512}


def test_a_directory_is_measured_by_its_configuration_and_index(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 900}}))
    sizes = {"config.json": 100, "model-00001-of-00001.safetensors": 950}
    expected = ModelMemory(weights_bytes=900, kv_cache_bytes_per_token=2 * 2 * 4 * 16 * 2, context_tokens=512)
    assert expected == measure(tmp_path, sizes)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000])
def test_a_configuration_that_cannot_be_read_is_no_fault(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert measure(tmp_path, {"model.safetensors": 9}) is None


def test_a_file_that_is_no_gguf_is_not_measured(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert measure(tmp_path / "m.gguf", {"m.gguf": 4}) is None
    (tmp_path / "m.bin").write_bytes(b"x")
    assert measure(tmp_path / "m.bin", {"m.bin": 1}) is None
