"""Files are hashed again: a flipped byte is found, deleted and fetched again."""

import json
import os
from pathlib import Path

import pytest

from arks.model_manager.adapters import marker
from arks.model_manager.adapters.marker import Complete, StoredFile
from arks.model_manager.programs import verify
from arks.model_manager.programs.file_hash import content_sha256

WEIGHTS = os.urandom(300_000)


def flip_a_byte(path: Path) -> None:
    """As a failing disk does: size and modification time stay."""
    state = path.stat()
    with path.open("r+b") as file:
        file.seek(1234)
        byte = file.read(1)
        file.seek(1234)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    stored = []
    for name, of_source in (("model.gguf", True), ("sub/vocab.txt", False)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(WEIGHTS)
        digest = content_sha256(path)
        given = {"sha256": digest} if of_source else {"content_sha256": digest}
        stored.append(StoredFile(name, len(WEIGHTS), path.stat().st_mtime_ns, **given))
    marker.mark_complete(tmp_path, Complete("f", "r", tuple(stored)))
    return tmp_path


def results(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {line["path"]: line["fault"] for line in lines}


def test_undamaged_files_are_as_recorded(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == verify.main([str(directory)])
    assert {"model.gguf": "", "sub/vocab.txt": ""} == results(capsys)


@pytest.mark.parametrize("name", ["model.gguf", "sub/vocab.txt"])
def test_a_flipped_byte_is_found_whether_or_not_the_source_gave_a_hash(
    directory: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    flip_a_byte(directory / name)
    assert 1 == verify.main([str(directory / "model.gguf")])
    found = results(capsys)
    assert "SHA-256 is" in found.pop(name)
    assert [""] == list(found.values())
    assert (directory / name).exists()


def test_repair_deletes_only_what_is_damaged(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_a_byte(directory / "model.gguf")
    assert 1 == verify.main([str(directory), "--repair"])
    assert [False, True] == [(directory / name).exists() for name in ("model.gguf", "sub/vocab.txt")]


def test_a_missing_file_is_a_fault(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "model.gguf").unlink()
    assert 1 == verify.main([str(directory)])
    assert "it is missing" == results(capsys)["model.gguf"]


def test_a_local_file_is_compared_with_the_digest_of_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(WEIGHTS)
    digest = content_sha256(path)
    assert [0, 0] == [verify.main([str(path)]), verify.main([str(path), "--sha256", digest])]
    recorded = [json.loads(line)["recorded"] for line in capsys.readouterr().out.splitlines()]
    assert [False, True] == recorded
    flip_a_byte(path)
    assert 1 == verify.main([str(path), "--sha256", digest, "--repair"])
    assert path.exists()


def test_a_directory_that_no_download_has_filled_cannot_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == verify.main([str(tmp_path)])
    assert "nothing was recorded" in capsys.readouterr().err
