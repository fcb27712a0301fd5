"""The file of starts: a line a lease, a line a request."""

from pathlib import Path

from arks.endpoint_router.testing.leases import NOW, is_true, new, run


def test_starts_are_appended_to_the_file_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "starts"
    starts = new("starts_new", str(path).encode())
    assert is_true(run("starts_append", starts, b"one\n", NOW))
    path.rename(tmp_path / "old")
    assert is_true(run("starts_append", starts, b"two\n", NOW + 999))
    assert is_true(run("starts_append", starts, b"three\n", NOW + 1000))
    assert ("one\ntwo\n", "three\n") == ((tmp_path / "old").read_text(), path.read_text())


def test_a_start_that_cannot_be_written_is_an_error_and_no_line(tmp_path: Path) -> None:
    path = tmp_path / "starts"
    path.symlink_to("/dev/full")
    starts = new("starts_new", str(path).encode())
    assert not is_true(run("starts_append", starts, b"lost\n", NOW))
    path.unlink()
    assert is_true(run("starts_append", starts, b"kept\n", NOW + 1000))
    assert "\t?\nkept\n" == path.read_text()
    no_file = new("starts_new", str(tmp_path).encode())
    assert not is_true(run("starts_append", no_file, b"x\n", NOW))
