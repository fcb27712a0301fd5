"""How soon a child that another writer changed is set back. Pure.

At once the first time, then later and later while the changes go on: two writers that fight would otherwise replace
pods without end. After a calm time a change counts as the first again.
"""

from arks.kit.backoff import Backoff
from arks.kit.key import Key

CALM_SECONDS = 900.0
"""Longer than the longest wait, so that a writer that always answers a repair is never new."""
_BACKOFF = Backoff(first_seconds=2.0, longest_seconds=300.0)


class Repairs:
    def __init__(self) -> None:
        self._last: dict[Key, tuple[int, float]] = {}
        """Repairs in a row, and when the last of them was (monotonic seconds)."""

    def wait_seconds(self, key: Key, now: float) -> float:
        """Seconds until the child may be repaired; 0: now."""
        count, at = self._last.get(key, (0, now))
        if count == 0 or now - at >= CALM_SECONDS:
            return 0.0
        return max(0.0, at + _BACKOFF.delay_seconds(count) - now)

    def repaired(self, key: Key, now: float) -> float:
        """Note a repair. Returns the seconds until the next one of the same child."""
        count, at = self._last.get(key, (0, now))
        count = count + 1 if now - at < CALM_SECONDS else 1
        self._last[key] = (count, now)
        return _BACKOFF.delay_seconds(count)

    def forget(self, key: Key) -> None:
        self._last.pop(key, None)
