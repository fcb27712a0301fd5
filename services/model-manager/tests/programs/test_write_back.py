"""Files are written to the disk while they arrive."""

import errno
import time

import pytest

from arks.model_manager.programs.write_back import WriteBack


class File:
    def __init__(self, fault: OSError | None = None) -> None:
        self.done_bytes = 0
        self.fault = fault
        self.synced_at: list[int] = []

    def sync(self) -> None:
        self.synced_at.append(self.done_bytes)
        if self.fault is not None:
            raise self.fault


def arrive(file: File, done_bytes: int, syncs: int) -> None:
    file.done_bytes = done_bytes
    deadline = time.monotonic() + 10
    while len(file.synced_at) < syncs and time.monotonic() < deadline:
        time.sleep(0.001)


def test_each_step_is_written_while_more_arrives() -> None:
    file = File()
    with WriteBack(file, step_bytes=10, look_seconds=0.001):
        for count, done_bytes in enumerate((10, 25, 35), 1):
            arrive(file, done_bytes, count)
    assert [10, 25, 35] == file.synced_at


def test_a_write_that_was_lost_ends_the_download() -> None:
    file = File(OSError(errno.ENOSPC, "no space left"))
    with pytest.raises(OSError, match="no space left"), WriteBack(file, step_bytes=10, look_seconds=0.001):
        arrive(file, 10, 1)


def test_another_fault_of_the_download_is_not_hidden() -> None:
    file = File(OSError(errno.ENOSPC, "no space left"))
    with pytest.raises(ValueError, match="first"), WriteBack(file, step_bytes=10, look_seconds=0.001):
        arrive(file, 10, 1)
        raise ValueError("first")
