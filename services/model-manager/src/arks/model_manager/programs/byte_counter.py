"""Count the bytes of a download's files, from many threads."""

import threading

from arks.model_manager.domain.failures import DownloadFailed, FailureKind
from arks.model_manager.domain.protocol import Report


class ByteCounter:
    def __init__(self) -> None:
        self.total_bytes: int | None = None
        self.stopped = False
        """Set to stop the threads that count."""
        self._positions: dict[str, int] = {}
        self._lock = threading.Lock()

    def set_position(self, path: str, position: int) -> None:
        """Bytes of one file that are done. Raises DownloadFailed after a stop."""
        self.check()
        with self._lock:
            self._positions[path] = position

    def check(self) -> None:
        """Raises DownloadFailed after a stop."""
        if self.stopped:
            raise DownloadFailed(FailureKind.NETWORK, "stopped")

    def report(self) -> Report:
        with self._lock:
            return Report(done_bytes=sum(self._positions.values()), total_bytes=self.total_bytes)
