"""`arks model import` and `arks model verify` with the programs of model-manager."""

import os
from pathlib import Path
from typing import Any

import pytest

from arks.local.cli import model_programs
from arks.local.cli.failure import Failure
from arks.local.cli.model_verify import Result, verify

WEIGHTS = b"GGUF" + os.urandom(200_000)


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    """A model whose file was imported."""
    file = tmp_path / "tuned.gguf"
    file.write_bytes(WEIGHTS)
    directory = tmp_path / "models" / "default" / "tuned"
    assert [len(WEIGHTS)] == list(model_programs.import_file(file, directory, "default/tuned"))
    return {
        "metadata": {"namespace": "default", "name": "tuned"},
        "spec": {"model": "tuned"},
        "status": {"path": str(directory / "tuned.gguf"), "sizeBytes": len(WEIGHTS)},
    }


def flip_a_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(bytes([WEIGHTS[1000] ^ 1]))


def test_an_imported_model_is_as_recorded(
    model: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(tmp_path, [model], repair=False, timeout=1)
    assert "tuned: 1 file, 200.0 kB, as recorded" in capsys.readouterr().out


def test_a_flipped_byte_is_named_and_kept_where_no_source_has_it(
    model: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(model["status"]["path"])
    flip_a_byte(path)
    with pytest.raises(Failure) as caught:
        verify(tmp_path, [model], repair=True, timeout=1)
    assert "tuned.gguf: SHA-256 is" in capsys.readouterr().out
    assert ("replace them by a good copy", True) == (caught.value.next_step, path.exists())


def test_a_damaged_download_is_deleted_only_for_a_repair(model: dict[str, Any], tmp_path: Path) -> None:
    path = Path(model["status"]["path"])
    flip_a_byte(path)
    downloaded = model | {"spec": {"model": "tuned", "source": {"huggingface": {}}}}
    with pytest.raises(Failure) as caught:
        verify(tmp_path, [downloaded], repair=False, timeout=1)
    assert ("`arks model verify tuned --repair` fetches them again", True) == (caught.value.next_step, path.exists())
    assert Result(downloaded, ()).downloads
    [found] = model_programs.verify(str(path), sha256=None, repair=True)
    assert (str(path), False) == (found.file, path.exists())


def test_a_program_that_fails_ends_the_command_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="nothing was recorded"):
        list(model_programs.verify(str(tmp_path), sha256=None, repair=False))
