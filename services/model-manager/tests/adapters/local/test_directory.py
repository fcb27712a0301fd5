"""Directories of models on one machine are created and removed."""

from pathlib import Path

import pytest

from arks.kit.errors import Invalid, Unavailable
from arks.model_manager.adapters.local import directory
from arks.model_manager.domain.removal import Removal

GGUF = b"GGUF" + bytes(12)


def test_a_created_directory_is_removed_with_its_empty_parents(tmp_path: Path) -> None:
    directory.create(tmp_path / "default" / "a", tmp_path, "default/a")
    directory.create(tmp_path / "default" / "b", tmp_path, "default/b")
    (tmp_path / "default" / "a" / "x.gguf").write_bytes(GGUF)
    assert Removal.REMOVED is directory.remove(tmp_path / "default" / "a", tmp_path)
    assert ["b"] == [path.name for path in (tmp_path / "default").iterdir()]
    directory.remove(tmp_path / "default" / "b", tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_an_existing_directory_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    directory.create(tmp_path / "mine", tmp_path, "default/a")
    assert Removal.KEPT is directory.remove(tmp_path / "mine", tmp_path)
    assert Removal.ABSENT is directory.remove(tmp_path / "none", tmp_path)


def test_a_link_out_of_the_storage_is_not_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "models"
    outside.mkdir()
    root.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(Invalid, match="leads out of"):
        directory.create(root / "link" / "x", root, "default/a")
    assert [] == list(outside.iterdir())


def test_a_failed_creation_has_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="File exists"):
        directory.create(tmp_path / "file" / "x", tmp_path, "default/a")


def test_an_interrupted_removal_is_finished_at_the_start(tmp_path: Path) -> None:
    (tmp_path / ".removing-a-1-2" / "sub").mkdir(parents=True)
    directory.sweep(tmp_path)
    assert [] == list(tmp_path.iterdir())
