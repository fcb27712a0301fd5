from pathlib import Path

from arks.local.files.logs import LogSearch, last_lines, limit_size


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


def write(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_a_search_finds_only_what_comes_after_its_begin(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    write(log, "write error of the process before\n")
    search = LogSearch(log, "write error")
    assert not search.found()
    write(log, "ready\n")
    assert not search.found()
    write(log, "a write error\n")
    assert search.found()


def test_a_search_finds_a_text_that_was_written_in_two_parts(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    search = LogSearch(log, "write error")
    write(log, "a write ")
    assert not search.found()
    write(log, "error\n")
    assert search.found()


def test_what_a_search_has_found_stays_found_when_the_log_is_emptied(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    search = LogSearch(log, "write error")
    write(log, "a write error\n")
    assert search.found()
    limit_size(log, max_bytes=1)
    assert search.found()


def test_a_search_begins_again_in_a_log_that_was_emptied(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    search = LogSearch(log, "write error")
    write(log, "a long line before it is emptied\n")
    assert not search.found()
    limit_size(log, max_bytes=1)
    write(log, "a write error\n")
    assert search.found()


def test_a_search_reads_only_what_is_new(tmp_path: Path) -> None:
    log = tmp_path / "nats.log"
    search = LogSearch(log, "write error")
    write(log, "ready\n" * 1000)
    assert not search.found()
    write(log, "idle\n")
    assert len("ready\nidle\n") + len("write error") >= len(search._new())


def test_a_search_without_a_log_finds_nothing(tmp_path: Path) -> None:
    assert not LogSearch(tmp_path / "nats.log", "write error").found()
