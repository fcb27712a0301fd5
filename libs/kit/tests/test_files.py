import os
import stat
from pathlib import Path

import pytest

from arks.kit.files import last_lines, tail, write_atomically


@pytest.mark.parametrize("content", ["text", b"bytes"])
def test_a_write_replaces_the_file_without_a_temporary_afterwards(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "state.json"
    write_atomically(file, "old and longer")
    write_atomically(file, content, durable=True)
    assert [file] == list(tmp_path.iterdir())
    assert content in (file.read_text(), file.read_bytes())


def test_a_written_file_has_the_requested_mode(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    write_atomically(file, "x", mode=0o600)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_a_failed_write_keeps_the_old_file_and_removes_the_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "state.json"
    write_atomically(file, "old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(file, "new", durable=True)
    assert "old" == file.read_text()
    assert [file] == list(tmp_path.iterdir())


def test_the_tail_has_the_last_lines_of_a_file_of_any_size(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number} {'x' * 100}\n" for number in range(5000)))
    assert [f"line {number}" for number in (4998, 4999)] == [line.split(" x")[0] for line in tail(log, 2)]
    assert 5000 == len(tail(log, 10_000))
    assert [] == tail(log, 0)


def test_the_tail_reads_no_more_than_it_may(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nsecond\nthird\n")
    assert ["nd", "third"] == tail(log, 3, max_bytes=9)


def test_a_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert [] == tail(tmp_path / "none", 3)
    assert [] == last_lines(tmp_path / "none", 3, max_characters=400)


def test_last_lines_are_cut_and_not_empty(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n\n" + b"y" * 1000 + b"\n\xff  \n\n")
    assert ["first", "y" * 400, "�"] == last_lines(log, 4, max_characters=400)
    assert ["�"] == last_lines(log, 1, max_characters=400)
