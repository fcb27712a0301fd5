"""A local file becomes a model's own copy."""

import os
from pathlib import Path

import pytest

from arks.model_manager.adapters import inspection, marker
from arks.model_manager.domain.observation import Content
from arks.model_manager.programs import import_file
from arks.model_manager.programs.file_hash import content_sha256

WEIGHTS = b"GGUF" + os.urandom(100_000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tuned.gguf"
    path.write_bytes(WEIGHTS)
    return path


def test_the_copy_is_complete_and_outlives_the_file(file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "models" / "default" / "tuned"
    assert 0 == import_file.main([str(file), str(directory)])
    digest = content_sha256(file)
    file.unlink()
    found = inspection.inspect_stored(directory)
    expected = (Content.COMPLETE, str(directory / "tuned.gguf"), digest)
    assert expected == (found.content, found.path, found.sha256)
    assert marker.created_by_arks(directory)


def test_another_import_replaces_the_file(file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "model"
    assert 0 == import_file.main([str(file), str(directory)])
    newer = file.with_name("newer.gguf")
    newer.write_bytes(WEIGHTS[::-1].replace(WEIGHTS[::-1][:4], b"GGUF", 1))
    assert 0 == import_file.main([str(newer), str(directory)])
    assert ["newer.gguf"] == [path.name for path in directory.iterdir() if path.is_file()]


def test_another_format_is_refused(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(b"PK")
    assert 1 == import_file.main([str(file), str(tmp_path / "model")])
    assert "not a GGUF file" in capsys.readouterr().err


def test_a_full_disk_is_refused_with_the_sizes(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 1 == import_file.main([str(file), str(tmp_path / "model"), "--reserve-bytes", str(1 << 62)])
    assert "are free in" in capsys.readouterr().err
    assert marker.read_complete(tmp_path / "model") is None


def test_a_directory_with_other_files_stays_as_it_is(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "theirs.gguf").write_bytes(WEIGHTS)
    assert 1 == import_file.main([str(file), str(tmp_path / "model")])
    assert "holds other files" in capsys.readouterr().err
