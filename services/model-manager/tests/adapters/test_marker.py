"""The marker beside the files."""

from pathlib import Path

import pytest

from arks.model_manager.adapters import marker
from arks.model_manager.adapters.marker import Complete, StoredFile

COMPLETE = Complete("fingerprint", "c0ffee", (StoredFile("a/x.gguf", 4, 123, sha256="ab"),))


def test_a_marker_is_read_as_it_was_written(tmp_path: Path) -> None:
    marker.mark_complete(tmp_path, COMPLETE)
    assert COMPLETE == marker.read_complete(tmp_path)


def test_a_retired_marker_is_not_complete(tmp_path: Path) -> None:
    marker.mark_complete(tmp_path, COMPLETE)
    marker.retire_complete(tmp_path)
    assert (None, COMPLETE) == (marker.read_complete(tmp_path), marker.read_previous(tmp_path))
    marker.forget_previous(tmp_path)
    marker.retire_complete(tmp_path)
    assert marker.read_previous(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "files": [{}]}'])
def test_an_unreadable_marker_counts_as_none(tmp_path: Path, text: str) -> None:
    marker.arks_directory(tmp_path).mkdir()
    (marker.arks_directory(tmp_path) / "complete.json").write_text(text)
    assert marker.read_complete(tmp_path) is None


def test_missing_and_resized_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"12")
    (tmp_path / "right").write_bytes(b"1234")
    files = [StoredFile(name, 4, 0) for name in ("short", "right", "gone", "right/below")]
    assert ["short has 2 bytes instead of 4", "gone is missing", "right/below is missing"] == marker.broken_files(
        tmp_path, files
    )
