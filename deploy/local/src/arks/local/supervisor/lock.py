"""run/supervisor.lock: held by the supervisor of a home until it ends, so that there is at most one."""

import fcntl
import os
import time
from typing import TextIO

from arks.local.files.paths import Paths

_LOCK_SECONDS = 1.0


class AlreadyRunning(Exception):
    """Another supervisor holds the lock."""


def take_lock(paths: Paths) -> TextIO:
    """Take the lock, which lasts until the file is closed, and write run/pid. Raises AlreadyRunning."""
    file = paths.lock.open("a+")
    deadline = time.monotonic() + _LOCK_SECONDS  # the command holds it for an instant when it checks it
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            file.close()
            raise AlreadyRunning(f"another supervisor runs with home {paths.home}") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        paths.pid.write_text(f"{os.getpid()}\n")
        paths.state.unlink(missing_ok=True)
        return file
