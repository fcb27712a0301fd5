"""What changed lately: by it a worker of the gateway knows which of its leases it may go on using."""

from collections import deque
from typing import Final

MARGIN_SECONDS: Final = 2.0
"""Another replica of token-quota may have seen a change so much earlier or later than this one."""
_KEPT_SECONDS: Final = 60.0
_MAX_KEPT: Final = 1000
MAX_LISTED: Final = 100
"""More changes are not listed: all leases end then."""


class RecentChanges:
    """The tokens and endpoints whose leases ended lately. Times are seconds that never run backwards."""

    def __init__(self, now_seconds: float) -> None:
        self._changes: deque[tuple[float, str]] = deque(maxlen=_MAX_KEPT)
        self._complete_since = now_seconds

    def add(self, subject: str, now_seconds: float) -> None:
        while self._changes and self._changes[0][0] < now_seconds - _KEPT_SECONDS:
            self._forget()
        if len(self._changes) == _MAX_KEPT:
            self._forget()
        self._changes.append((now_seconds, subject))

    def _forget(self) -> None:
        self._complete_since = self._changes.popleft()[0]

    def since(self, seconds: float, now_seconds: float) -> list[str] | None:
        """The subjects that changed in the last `seconds` and a margin, sorted. None if they are too many, or not all
        of them are known.
        """
        start = now_seconds - seconds - MARGIN_SECONDS
        if start < self._complete_since:
            return None
        found: set[str] = set()
        for time, subject in reversed(self._changes):
            if time < start:
                break
            found.add(subject)
        return sorted(found) if len(found) <= MAX_LISTED else None
