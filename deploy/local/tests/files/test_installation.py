"""`arks up` recognises that another installation started what runs."""

import os
from pathlib import Path

import pytest

from arks.local.files.installation import has_changed, write_installation
from arks.local.files.paths import Paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "arks"
    root.mkdir()
    (root / "main.py").write_text("1")
    return root


def test_what_was_started_from_the_same_files_has_not_changed(paths: Paths, root: Path) -> None:
    write_installation(paths, [str(root)])
    (root / "notes.txt").write_text("no program")
    assert not has_changed(paths, [str(root)])


def test_a_program_that_was_replaced_is_a_change(paths: Paths, root: Path) -> None:
    write_installation(paths, [str(root)])
    os.utime(root / "main.py", ns=(1, 1))
    assert has_changed(paths, [str(root)])


def test_another_checkout_is_a_change(paths: Paths, root: Path) -> None:
    write_installation(paths, [str(root)])
    assert has_changed(paths, [str(root.rename(root.with_name("other")))])


def test_what_an_earlier_release_started_counts_as_changed(paths: Paths, root: Path) -> None:
    assert has_changed(paths, [str(root)])
