import subprocess
import sys
from pathlib import Path

from arks.gateway_filter import library_directory
from arks.gateway_filter.__main__ import copy_library

LIBRARY = "libarks.so"


def test_a_copy_is_the_library_and_replaces_an_older_one_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / LIBRARY).write_bytes(b"old")
    with (tmp_path / LIBRARY).open("rb") as mapped:
        copy = copy_library(tmp_path)
        assert b"old" == mapped.read()
    assert (library_directory() / LIBRARY).read_bytes() == copy.read_bytes()
    assert [copy] == list(tmp_path.iterdir())


def test_a_copy_that_cannot_be_written_ends_with_a_failure(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "arks.gateway_filter", str(tmp_path / "missing")]
    assert subprocess.run(line, capture_output=True, check=False, timeout=60).returncode
