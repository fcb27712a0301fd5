"""Which GGUF file of a directory is the model."""

from pathlib import Path

import pytest

from arks.app_deployer.adapters.local import gguf


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_model_in_capitals_is_one(tmp_path: Path) -> None:
    first = _written(tmp_path / "M-00001-of-00002.GGUF", b"")
    _written(tmp_path / "M-00002-of-00002.GGUF", b"")
    assert first == gguf.find(tmp_path)


def test_a_directory_stands_for_its_only_model(tmp_path: Path) -> None:
    with pytest.raises(gguf.BadModelFile, match="no GGUF file"):
        gguf.find(tmp_path)
    first = _written(tmp_path / "m-00001-of-00002.gguf", b"")
    _written(tmp_path / "m-00002-of-00002.gguf", b"")
    _written(tmp_path / "mmproj-m.gguf", b"")
    _written(tmp_path / "m-mmproj-f16.GGUF", b"")
    assert first == gguf.find(tmp_path)
    _written(tmp_path / "other.gguf", b"")
    with pytest.raises(gguf.BadModelFile, match="2 GGUF files"):
        gguf.find(tmp_path)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(gguf.BadModelFile, match=r"there is no file /nowhere/m\.gguf"):
        gguf.find(Path("/nowhere/m.gguf"))
