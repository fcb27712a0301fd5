from pathlib import Path

from arks.app_deployer.domain.model_file import ModelFile


def test_memory_grows_with_the_context() -> None:
    model = ModelFile(Path("m"), 1000, 384, 512)
    assert 384 * 100 == model.memory_bytes(200) - model.memory_bytes(100)
    assert 192 * 100 == model.memory_bytes(200, 0.5) - model.memory_bytes(100, 0.5)
