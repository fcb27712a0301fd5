"""Write a file to the disk while it arrives, so that the sync at its end has little left to do.

The kernel would begin after seconds, or once a tenth of the memory is dirty, and the last sync would then wait for all
of that while nothing arrives.
"""

import threading
from types import TracebackType
from typing import Protocol

STEP_BYTES = 32 << 20
"""So much is written at once."""
LOOK_SECONDS = 0.05


class _File(Protocol):
    @property
    def done_bytes(self) -> int: ...
    def sync(self) -> None: ...


class WriteBack:
    """Syncs the file from a thread of its own during the block. At its end raises OSError of a sync that failed: the
    kernel reports a lost write once only."""

    def __init__(self, file: _File, step_bytes: int = STEP_BYTES, look_seconds: float = LOOK_SECONDS) -> None:
        self._file = file
        self._step_bytes = step_bytes
        self._look_seconds = look_seconds
        self._ended = threading.Event()
        self._fault: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="write-back", daemon=True)

    def _run(self) -> None:
        synced = self._file.done_bytes
        while not self._ended.wait(self._look_seconds):
            done = self._file.done_bytes
            if done - synced < self._step_bytes:
                continue
            try:
                self._file.sync()
            except OSError as error:
                self._fault = error
                return
            synced = done

    def __enter__(self) -> "WriteBack":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        if error is None and self._fault is not None:
            raise self._fault
