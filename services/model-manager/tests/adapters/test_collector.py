"""Content that no model links to, on a disk that fills up."""

import hashlib
import os
from pathlib import Path

import pytest

from arks.model_manager.adapters.collector import Collector, ReadDisk
from arks.model_manager.adapters.store import Store
from arks.model_manager.domain.garbage import Disk, Watermarks

FULL = Disk(1000, 10)


def disk_of(disk: Disk) -> ReadDisk:
    return lambda _: disk


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    return tmp_path / ".arks/store"


def keep(stores: Path, namespace: str, path: Path) -> str:
    """A file of a model that the store shares."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(100))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    Store(stores / namespace).add(sha256, path)
    return sha256


def test_files_of_models_stay_on_a_full_disk(stores: Path, tmp_path: Path) -> None:
    used, unused = tmp_path / "a/model", tmp_path / "b/model"
    content = keep(stores, "a", used)
    keep(stores, "b", unused)
    assert 0 == Collector(stores, Watermarks(), disk_of(FULL)).collect(10**6)
    unused.unlink()
    collector = Collector(stores, Watermarks(), disk_of(FULL))
    assert 100 == collector.unused_bytes()
    assert 100 == collector.collect()
    assert 0 == collector.unused_bytes()
    assert used.samefile(stores / "a" / content[:2] / content)


def test_an_engine_keeps_what_it_has_open(stores: Path, tmp_path: Path) -> None:
    model = tmp_path / "a/model"
    keep(stores, "a", model)
    with model.open("rb") as engine:
        before = model.read_bytes()
        model.unlink()
        assert 100 == Collector(stores, Watermarks(), disk_of(FULL)).collect()
        assert before == engine.read()


def test_below_the_high_mark_content_is_kept_for_the_next_model(stores: Path, tmp_path: Path) -> None:
    model = tmp_path / "a/model"
    sha256 = keep(stores, "a", model)
    model.unlink()
    assert 0 == Collector(stores, Watermarks(), disk_of(Disk(1000, 200))).collect()
    assert Store(stores / "a").link(sha256, 100, tmp_path / "again")


def test_a_disk_without_a_store_is_no_error(stores: Path) -> None:
    assert (0, 0) == (
        Collector(stores, Watermarks(), disk_of(FULL)).collect(),
        Collector(None, Watermarks(), disk_of(FULL)).collect(),
    )
