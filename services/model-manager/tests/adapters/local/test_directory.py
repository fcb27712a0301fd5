"""What lies in a directory, by names and sizes; what is made and removed."""

from pathlib import Path

import pytest

from arks.kit.errors import Invalid, Unavailable
from arks.model_manager.adapters import marker
from arks.model_manager.adapters.local import directory
from arks.model_manager.domain.observation import Content
from arks.model_manager.domain.path_use import Removal
from arks.model_manager.domain.source import Order, SourceKind

GGUF = b"GGUF" + bytes(12)


def file_order(path: Path, sha256: str | None = None) -> Order:
    return Order(SourceKind.FILE, path=str(path), sha256=sha256)


def inspected(path: Path) -> tuple[Content, str]:
    stored = directory.inspect_file(file_order(path), path.parent / "record.json")
    return stored.content, stored.message


def test_a_file_that_can_be_loaded_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(GGUF)
    stored = directory.inspect_file(file_order(path), tmp_path / "record.json")
    assert (Content.COMPLETE, str(path), 16, 1) == (stored.content, stored.path, stored.size_bytes, stored.file_count)


def test_a_file_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "text.gguf").write_text("<html>")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "x.gguf").write_text("<html>")
    (tmp_path / "nothing").mkdir()
    found = {name: inspected(tmp_path / name) for name in ("none.gguf", "empty.gguf", "text.gguf", "pages", "nothing")}
    assert (Content.ABSENT, f"{tmp_path}/none.gguf does not exist on this machine") == found["none.gguf"]
    assert (Content.REFUSED, f"{tmp_path}/empty.gguf is empty") == found["empty.gguf"]
    assert (Content.REFUSED, f"{tmp_path}/nothing is empty") == found["nothing"]
    assert "is not a GGUF file: it begins with b'<htm'" in found["text.gguf"][1]
    assert "is not a GGUF file" in found["pages"][1]


def test_a_directory_in_place_is_loaded_whole_or_by_its_one_gguf_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"12")
    whole = directory.inspect_file(file_order(tmp_path), tmp_path / "record.json")
    assert (str(tmp_path), 4, 2) == (whole.path, whole.size_bytes, whole.file_count)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "x.gguf").write_bytes(GGUF)
    assert str(tmp_path / "x.gguf") == directory.inspect_file(file_order(tmp_path), tmp_path / "record.json").path


def test_a_digest_is_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    stored = directory.inspect_file(file_order(tmp_path, "0" * 64), tmp_path / "record.json")
    assert Content.REFUSED is stored.content


def test_a_digest_counts_for_the_very_file_that_was_hashed(tmp_path: Path) -> None:
    path, record = tmp_path / "x.gguf", tmp_path / "record.json"
    path.write_bytes(GGUF)
    order = file_order(path, "0" * 64)
    assert Content.INCOMPLETE is directory.inspect_file(order, record).content
    size, modified, inode = directory.version_of(path) or (0, 0, 0)
    known = {"size_bytes": size, "modified_ns": modified, "inode": inode}
    marker.write_atomically(record, {"path": str(path), "sha256": "0" * 64, **known})
    assert Content.COMPLETE is directory.inspect_file(order, record).content
    path.write_bytes(GGUF + b"!")
    assert Content.INCOMPLETE is directory.inspect_file(order, record).content


def test_storage_that_somebody_else_fills_is_complete_when_something_lies_there(tmp_path: Path) -> None:
    model = tmp_path / "model"
    absent = directory.inspect_stored(model)
    model.mkdir()
    empty = directory.inspect_stored(model)
    (model / "x.gguf").write_bytes(GGUF)
    filled = directory.inspect_stored(model)
    assert (Content.ABSENT, Content.REFUSED, Content.COMPLETE) == (absent.content, empty.content, filled.content)
    assert str(model / "x.gguf") == filled.path
    assert f"{model} is empty" in empty.message


def test_storage_that_is_being_downloaded_is_not_complete_for_its_readers(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(GGUF)
    marker.partial_directory(tmp_path).mkdir(parents=True)
    assert Content.REFUSED is directory.inspect_stored(tmp_path).content


def test_a_file_in_the_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("in the way")
    assert Content.REFUSED is directory.inspect_hub(tmp_path / "model", "fingerprint").content


def test_what_was_made_is_removed_with_the_parents_that_it_leaves_empty(tmp_path: Path) -> None:
    directory.create(tmp_path / "default" / "a", tmp_path, "default/a")
    directory.create(tmp_path / "default" / "b", tmp_path, "default/b")
    (tmp_path / "default" / "a" / "x.gguf").write_bytes(GGUF)
    assert Removal.REMOVED is directory.remove(tmp_path / "default" / "a", tmp_path)
    assert ["b"] == [path.name for path in (tmp_path / "default").iterdir()]
    directory.remove(tmp_path / "default" / "b", tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_what_was_there_before_is_kept(tmp_path: Path) -> None:
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


def test_storage_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="File exists"):
        directory.create(tmp_path / "file" / "x", tmp_path, "default/a")


@pytest.mark.parametrize(
    ("place", "expected"),
    [(".", True), (".removing-x", True), ("a/.arks", True), ("a/b", False), ("a/.removing-x", False)],
)
def test_places_that_arks_uses_itself_are_reserved(place: str, expected: bool) -> None:
    assert expected is directory.is_reserved(place)


def test_a_removal_that_was_cut_short_is_finished_at_the_start(tmp_path: Path) -> None:
    (tmp_path / ".removing-a-1-2" / "sub").mkdir(parents=True)
    directory.sweep(tmp_path)
    assert [] == list(tmp_path.iterdir())
