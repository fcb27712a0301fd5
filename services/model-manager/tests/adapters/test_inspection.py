"""Inspection of model directories."""

from pathlib import Path

from arks.model_manager.adapters import inspection, marker
from arks.model_manager.domain.observation import Content
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.weights_source import WeightsSource

GGUF = b"GGUF" + bytes(12)


def file_source(path: Path, sha256: str | None = None) -> WeightsSource:
    return WeightsSource(SourceKind.FILE, path=str(path), sha256=sha256)


def inspected(path: Path) -> tuple[Content, str]:
    stored = inspection.inspect_file(file_source(path), path.parent / "record.json")
    return stored.content, stored.message


def test_a_valid_file_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(GGUF)
    stored = inspection.inspect_file(file_source(path), tmp_path / "record.json")
    assert (Content.COMPLETE, str(path), 16, 1) == (stored.content, stored.path, stored.size_bytes, stored.file_count)


def test_an_invalid_file_has_a_message(tmp_path: Path) -> None:
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


def test_a_directory_is_loaded_whole_or_by_its_single_gguf_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"12")
    whole = inspection.inspect_file(file_source(tmp_path), tmp_path / "record.json")
    assert (str(tmp_path), 4, 2) == (whole.path, whole.size_bytes, whole.file_count)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "x.gguf").write_bytes(GGUF)
    assert str(tmp_path / "x.gguf") == inspection.inspect_file(file_source(tmp_path), tmp_path / "record.json").path


def test_a_digest_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    stored = inspection.inspect_file(file_source(tmp_path, "0" * 64), tmp_path / "record.json")
    assert Content.REFUSED is stored.content


def test_a_recorded_digest_holds_for_exactly_the_hashed_file(tmp_path: Path) -> None:
    path, record = tmp_path / "x.gguf", tmp_path / "record.json"
    path.write_bytes(GGUF)
    source = file_source(path, "0" * 64)
    assert Content.INCOMPLETE is inspection.inspect_file(source, record).content
    size, modified, inode = inspection.version_of(path) or (0, 0, 0)
    known = {"size_bytes": size, "modified_ns": modified, "inode": inode}
    marker.write_record(record, {"path": str(path), "sha256": "0" * 64, **known})
    assert Content.COMPLETE is inspection.inspect_file(source, record).content
    path.write_bytes(GGUF + b"!")
    assert Content.INCOMPLETE is inspection.inspect_file(source, record).content


def test_storage_that_a_user_fills_is_complete_if_it_has_files(tmp_path: Path) -> None:
    model = tmp_path / "model"
    absent = inspection.inspect_stored(model)
    model.mkdir()
    empty = inspection.inspect_stored(model)
    (model / "x.gguf").write_bytes(GGUF)
    filled = inspection.inspect_stored(model)
    assert (Content.ABSENT, Content.REFUSED, Content.COMPLETE) == (absent.content, empty.content, filled.content)
    assert str(model / "x.gguf") == filled.path
    assert f"{model} is empty" in empty.message


def test_an_unfinished_download_is_refused_to_readers(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(GGUF)
    marker.partial_directory(tmp_path).mkdir(parents=True)
    assert Content.REFUSED is inspection.inspect_stored(tmp_path).content


def test_a_file_instead_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("in the way")
    assert Content.REFUSED is inspection.inspect_hub(tmp_path / "model", "fingerprint").content
