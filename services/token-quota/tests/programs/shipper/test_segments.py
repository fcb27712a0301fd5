"""Following, rotating and bounding the usage log, on real files."""

from pathlib import Path

import pytest

from arks.kit.testing.clock import FakeClock
from arks.token_quota.programs.shipper import segments as module
from arks.token_quota.programs.shipper.segments import Chunk, Segments
from arks.token_quota.programs.shipper.state import Position


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "usage.log"


def follow(log: Path, clock: FakeClock, position: Position | None = None) -> Segments:
    return Segments(log, monotonic=clock.monotonic, position=position)


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def take(segments: Segments) -> list[bytes]:
    chunk = segments.read()
    if chunk is None:
        return []
    segments.advance(chunk)
    return chunk.data.split(b"\n")[:-1]


def test_lines_come_whole_and_once(log: Path, clock: FakeClock) -> None:
    segments = follow(log, clock)
    assert None is segments.read()
    append(log, "one\ntwo\nthr")
    assert [b"one", b"two"] == take(segments)
    assert [] == take(segments)
    append(log, "ee\n")
    assert [b"three"] == take(segments)


def test_lines_that_were_not_shipped_come_again(log: Path, clock: FakeClock) -> None:
    append(log, "one\n")
    segments = follow(log, clock)
    assert segments.read() == segments.read() == Chunk(b"one\n", 4)


def test_a_new_process_goes_on_at_the_position_of_the_last_one(log: Path, clock: FakeClock) -> None:
    append(log, "one\n")
    first = follow(log, clock)
    take(first)
    first.close()
    append(log, "two\n")
    assert Position(log.stat().st_ino, 4) == first.position
    assert [b"two"] == take(follow(log, clock, first.position))


def test_lines_that_were_not_taken_do_not_move_the_position(log: Path, clock: FakeClock) -> None:
    append(log, "one\n")
    segments = follow(log, clock)
    assert segments.position is None
    segments.read()
    assert Position(log.stat().st_ino, 0) == segments.position


def test_without_the_file_of_the_position_everything_is_read(log: Path, clock: FakeClock) -> None:
    append(log.with_name("usage.log.1"), "one\n")
    append(log, "two\n")
    segments = follow(log, clock, Position(1, 4))
    assert [b"one"] == take(segments)
    assert Position(log.with_name("usage.log.1").stat().st_ino, 4) == segments.position


def test_a_position_in_a_rotated_log_goes_on_there(log: Path, clock: FakeClock) -> None:
    append(log, "one\ntwo\n")
    position = Position(log.stat().st_ino, 4)
    follow(log, clock).rotate()
    append(log, "three\n")
    segments = follow(log, clock, position)
    assert [b"two"] == take(segments)
    assert not segments.at_newest
    assert [] == take(segments)
    clock.advance(module.SETTLE_SECONDS)
    assert [b"three"] == take(segments)
    assert segments.at_newest


def test_a_rotated_log_is_read_to_its_end_and_deleted(log: Path, clock: FakeClock) -> None:
    append(log, "one\n")
    segments = follow(log, clock)
    take(segments)
    with log.open("a") as envoy:
        segments.rotate()
        envoy.write("two\n")
    assert [b"two"] == take(segments)
    append(log, "three\n")
    assert [] == take(segments)
    clock.advance(module.SETTLE_SECONDS)
    assert [b"three"] == take(segments)
    assert [log] == segments.all()
    segments.delete_finished(segments.position)
    assert [log] == list(log.parent.iterdir())


def test_a_finished_log_is_kept_until_the_saved_position_is_past_it(log: Path, clock: FakeClock) -> None:
    append(log, "one\n")
    segments = follow(log, clock)
    take(segments)
    saved = segments.position
    segments.rotate()
    append(log, "two\n")
    take(segments)
    clock.advance(module.SETTLE_SECONDS)
    assert [b"two"] == take(segments)
    segments.delete_finished(saved)
    assert log.with_name("usage.log.1").exists()
    segments.delete_finished(segments.position)
    assert not log.with_name("usage.log.1").exists()


def test_logs_before_the_position_are_deleted_unread_after_a_restart(log: Path, clock: FakeClock) -> None:
    append(log.with_name("usage.log.1"), "one\n")
    append(log.with_name("usage.log.2"), "two\nthree\n")
    append(log, "now\n")
    segments = follow(log, clock, Position(log.with_name("usage.log.2").stat().st_ino, 4))
    assert [b"three"] == take(segments)
    segments.delete_finished(segments.position)
    assert ["usage.log", "usage.log.2"] == sorted(path.name for path in log.parent.iterdir())


def test_a_log_put_aside_does_not_replace_a_finished_one(log: Path, clock: FakeClock) -> None:
    append(log, "one\n")
    segments = follow(log, clock)
    take(segments)
    segments.rotate()
    append(log, "two\n")
    take(segments)
    clock.advance(module.SETTLE_SECONDS)
    take(segments)
    segments.rotate()
    segments.delete_finished(segments.position)
    assert [log.with_name("usage.log.2")] == list(log.parent.iterdir())


def test_a_rotated_log_is_kept_until_envoy_has_opened_a_new_one(log: Path, clock: FakeClock) -> None:
    append(log, "one\n")
    segments = follow(log, clock)
    take(segments)
    segments.rotate()
    clock.advance(100)
    assert [] == take(segments)
    assert [log.with_name("usage.log.1")] == segments.all()


def test_after_a_restart_rotated_logs_are_read_first_and_oldest_first(log: Path, clock: FakeClock) -> None:
    for number in (10, 9):
        append(log.with_name(f"usage.log.{number}"), f"{number}\n")
    append(log, "now\n")
    segments = follow(log, clock)
    found = take(segments)
    for _ in range(4):
        found += take(segments)
        clock.advance(module.SETTLE_SECONDS)
    assert [b"9", b"10", b"now"] == found


def test_rotated_logs_get_rising_numbers(log: Path, clock: FakeClock) -> None:
    segments = follow(log, clock)
    for _ in range(11):
        append(log, "x\n")
        segments.rotate()
    append(log, "x\n")
    assert [f"usage.log.{n}" for n in range(1, 12)] + ["usage.log"] == [path.name for path in segments.all()]


def test_a_log_that_became_shorter_is_read_from_its_start(log: Path, clock: FakeClock) -> None:
    append(log, "one\ntwo\n")
    segments = follow(log, clock)
    take(segments)
    log.write_text("new\n")
    assert [b"new"] == take(segments)
    assert 1 == segments.truncations


def test_a_line_cut_off_at_the_end_of_a_rotated_log_is_counted(log: Path, clock: FakeClock) -> None:
    append(log, "one\ntw")
    segments = follow(log, clock)
    take(segments)
    segments.rotate()
    append(log, "three\n")
    assert [] == take(segments)
    clock.advance(module.SETTLE_SECONDS)
    assert [b"three"] == take(segments)
    assert 1 == segments.truncations


def test_a_line_that_never_ends_is_skipped(log: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_BYTES", 8)
    append(log, "x" * 20 + "\nshort\n")
    segments = follow(log, clock)
    found = [line for _ in range(5) for line in take(segments)]
    assert b"short" == found[-1]
    assert 2 == segments.overlong_lines


def test_the_oldest_logs_are_dropped_until_the_rest_fits(log: Path, clock: FakeClock) -> None:
    segments = follow(log, clock)
    for text in ("a" * 99, "b" * 99, "c" * 99):
        append(log, text + "\n")
        segments.rotate()
    append(log, "now\n")
    assert 304 == segments.total_bytes() == segments.unread_bytes()
    assert [("usage.log.1", 100), ("usage.log.2", 100)] == [
        (dropped.name, dropped.size_bytes) for dropped in segments.drop_oldest(150)
    ]
    assert [b"c" * 99] == take(segments)


def test_a_dropped_log_that_was_being_read_is_closed_at_once(log: Path, clock: FakeClock) -> None:
    append(log, "one\n")
    segments = follow(log, clock)
    take(segments)
    segments.rotate()
    append(log, "two\n")
    segments.drop_oldest(5)
    assert Position(log.stat().st_ino, 0) == segments.position
    assert [b"two"] == take(segments)


def test_without_any_file_there_is_no_position(log: Path, clock: FakeClock) -> None:
    # A new file may have the inode of the last one.
    segments = follow(log, clock, Position(1, 4))
    assert segments.read() is None
    assert segments.position is None


def test_the_current_log_is_never_dropped(log: Path, clock: FakeClock) -> None:
    append(log, "one\n")
    segments = follow(log, clock)
    assert [] == segments.drop_oldest(0)
    assert [b"one"] == take(segments)


def test_what_waits_is_what_is_not_shipped(log: Path, clock: FakeClock) -> None:
    append(log, "one\ntwo\n")
    segments = follow(log, clock)
    chunk = segments.read()
    assert 8 == segments.unread_bytes()
    assert chunk is not None
    segments.advance(chunk)
    assert 0 == segments.unread_bytes()
