"""The ends of log files."""

from pathlib import Path

from arks.local.files.logs import last_lines, limit_size, tail


def test_the_tail_has_the_last_lines_of_a_file_of_any_size(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number} {'x' * 100}\n" for number in range(5000)))
    assert [f"line {number}" for number in (4998, 4999)] == [line.split(" x")[0] for line in tail(log, 2)]
    assert 5000 == len(tail(log, 10_000))


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert [] == tail(tmp_path / "none", 3)
    assert () == last_lines(tmp_path / "none", 3)


def test_last_lines_are_short_and_not_empty(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n\n" + b"y" * 1000 + b"\n\xff\n")
    lines = last_lines(log, 4)
    assert ["first", "y" * 400, "�"] == list(lines)


def test_a_log_past_its_limit_moves_aside_and_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        limit_size(log, 50)
        writer.write(b"new\n")
    assert "new\n" == log.read_text()
    assert "old\n" * 100 == (tmp_path / "log.1").read_text()
