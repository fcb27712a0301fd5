"""Which file of a model engines load."""

import pytest

from arks.model_manager.domain.engine_file import engine_file


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["model.gguf", "README.md"], "model.gguf"),
        (["q/x-00001-of-00002.gguf", "q/x-00002-of-00002.gguf"], "q/x-00001-of-00002.gguf"),
        (["x.gguf", "mmproj-x.gguf"], "x.gguf"),
        (["x.gguf", "x-mmproj-f16.gguf", "X.MMPROJ.gguf"], "x.gguf"),
        (["X-00001-OF-00002.GGUF", "X-00002-OF-00002.GGUF"], "X-00001-OF-00002.GGUF"),
        (["x-q4.gguf", "x-q8.gguf"], ""),
        (["config.json", "model.safetensors"], ""),
        (["config.json", "model.safetensors", "x.gguf"], ""),
        ([], ""),
    ],
)
def test_engines_load_a_single_gguf_model_by_its_file_and_others_by_the_directory(
    files: list[str], expected: str
) -> None:
    assert expected == engine_file(files)
