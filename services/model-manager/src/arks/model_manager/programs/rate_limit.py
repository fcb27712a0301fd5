"""Limit the bytes a second of all streams of a download."""

import threading
import time
from collections.abc import Callable

_LONGEST_SLEEP_SECONDS = 0.5


class RateLimit:
    def __init__(self, bytes_per_second: int | None) -> None:
        """None: no limit."""
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0
        self._lock = threading.Lock()

    def take(self, count: int, check: Callable[[], None] = lambda: None) -> None:
        """Wait until `count` bytes more fit the rate. `check` may raise meanwhile, to end the wait."""
        if self._bytes_per_second is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + count / self._bytes_per_second
            until = self._free_at
        while (remaining := until - time.monotonic()) > 0:
            check()
            time.sleep(min(remaining, _LONGEST_SLEEP_SECONDS))
