"""Partial files: whatever arrived before a kill is there afterwards, and nothing else."""

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.model_manager.programs import partial_file
from arks.model_manager.programs.partial_file import PartialFile, bytes_in, chunk_bytes, discard

SIZE = 1000
CONTENT = bytes(number % 251 for number in range(SIZE))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_file, "MIN_CHUNK_BYTES", 128)
    monkeypatch.setattr(partial_file, "MAX_CHUNK_BYTES", 128)


def append(partial: PartialFile, index: int, count: int) -> None:
    start, end = partial.missing(index)
    partial.write(index, CONTENT[start : min(end, start + count)])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 200)), max_size=8), max_size=5))
def test_attempts_that_end_anywhere_add_up_to_the_file(attempts: list[list[tuple[int, int]]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "file.part"
        for attempt in attempts:
            here = bytes_in(path, SIZE)
            with PartialFile(path, SIZE) as partial:  # an attempt that is killed leaves the same files
                assert here == partial.done_bytes
                for index, count in attempt:
                    append(partial, index, count)
        with PartialFile(path, SIZE) as partial:
            for index in range(partial.count):
                append(partial, index, SIZE)
        assert CONTENT == path.read_bytes()


def test_the_bytes_are_followed_in_order_although_chunks_arrive_out_of_order(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "f", SIZE) as partial:
        for index in reversed(range(partial.count)):
            append(partial, index, SIZE)
        digest = hashlib.sha256()
        position = 0
        while block := partial.follow(position):
            digest.update(block)
            position += len(block)
    assert hashlib.sha256(CONTENT).hexdigest() == digest.hexdigest()


def test_bytes_that_are_followed_need_no_memory_of_their_own(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "f", SIZE) as partial:
        for index in range(partial.count):
            append(partial, index, SIZE)
        first, second = partial.follow(0), partial.follow(128)
    assert first is not None
    assert second is not None
    assert first.obj is second.obj


def test_a_failed_chunk_ends_the_wait_for_its_bytes(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "f", SIZE) as partial:
        partial.fail()
        assert partial.follow(0) is None


def test_the_beginning_that_an_earlier_version_wrote_is_kept(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT[:300])
    with PartialFile(tmp_path / "f", SIZE) as partial:
        assert [(128, 128), (256, 256), (300, 384)] == [partial.missing(index) for index in range(3)]


def test_a_source_without_ranges_begins_again(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "f", SIZE, ranges=False) as partial:
        partial.write(0, CONTENT[:500])
    with PartialFile(tmp_path / "f", SIZE, ranges=False) as partial:
        assert (0, SIZE) == partial.missing(0)


def test_without_a_hash_a_chunk_counts_once_it_is_whole(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "f", SIZE, durable=True) as partial:
        append(partial, 0, 128)
        append(partial, 1, 100)
        append(partial, 1, 10)
    assert 128 == bytes_in(tmp_path / "f", SIZE)


def test_more_bytes_than_a_chunk_has_are_an_error(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "f", SIZE) as partial, pytest.raises(ValueError, match="more bytes"):
        partial.write(0, bytes(129))


def test_nothing_remains_of_a_discarded_file(tmp_path: Path) -> None:
    with PartialFile(tmp_path / "f", SIZE) as partial:
        append(partial, 0, 1)
    discard(tmp_path / "f")
    assert [] == list(tmp_path.iterdir())


def test_large_files_are_requested_in_few_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    sizes = [1 << 20, 1 << 30, 50 << 30]
    assert [8 << 20, 16 << 20, 64 << 20] == [chunk_bytes(size) for size in sizes]
