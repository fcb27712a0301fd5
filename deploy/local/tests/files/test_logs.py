from pathlib import Path

from arks.local.files.logs import last_lines, limit_size


def test_a_missing_file_has_no_lines(tmp_path: Path) -> None:
    assert () == last_lines(tmp_path / "none", 3)


def test_last_lines_are_short_and_not_empty(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n\n" + b"y" * 1000 + b"\n\xff\n")
    lines = last_lines(log, 4)
    assert ["first", "y" * 400, "�"] == list(lines)


def test_a_log_above_its_limit_moves_aside_and_its_writer_continues(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        limit_size(log, 50)
        writer.write(b"new\n")
    assert "new\n" == log.read_text()
    assert "old\n" * 100 == (tmp_path / "log.1").read_text()
