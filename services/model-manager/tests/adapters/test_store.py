"""The store of equal files."""

import hashlib
from pathlib import Path

import pytest

from arks.model_manager.adapters.store import Store

CONTENT = b"weights" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def file(path: Path, content: bytes = CONTENT) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_added_content_is_shared_by_links(store: Store, tmp_path: Path) -> None:
    first = file(tmp_path / "first")
    store.add(SHA256, first)
    assert store.link(SHA256, len(CONTENT), tmp_path / "model/second")
    assert first.samefile(tmp_path / "model/second")


def test_a_second_copy_becomes_a_link(store: Store, tmp_path: Path) -> None:
    first, second = file(tmp_path / "first"), file(tmp_path / "second")
    store.add(SHA256, first)
    store.add(SHA256, second)
    assert first.samefile(second)
    assert CONTENT == second.read_bytes()


def test_damaged_content_is_not_shared(store: Store, tmp_path: Path) -> None:
    first = file(tmp_path / "first")
    store.add(SHA256, first)
    first.write_bytes(CONTENT[::-1])
    assert not store.link(SHA256, len(CONTENT), tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_without_a_directory_nothing_is_kept(tmp_path: Path) -> None:
    store = Store(None)
    store.add(SHA256, file(tmp_path / "first"))
    assert not store.link(SHA256, len(CONTENT), tmp_path / "second")


def test_a_disk_without_hard_links_is_no_error(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    first = file(tmp_path / "first")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    store.add(SHA256, first)
    assert not store.link(SHA256, len(CONTENT), tmp_path / "second")
    assert CONTENT == first.read_bytes()
