"""The lock of a model's directory: one process at a time changes its files."""

import contextlib
import errno
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from arks.model_manager.domain.failures import DownloadFailed, FailureKind

LOCK_SECONDS = 10.0
"""A killed service's download process may hold the lock for a moment."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Allow one process per directory. Raises DownloadFailed if another one keeps the lock."""
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in {errno.EAGAIN, errno.EACCES}:
                    raise
            if time.monotonic() > deadline:
                raise DownloadFailed(FailureKind.CRASHED, f"another process holds {path}")
            time.sleep(0.05)
        yield
