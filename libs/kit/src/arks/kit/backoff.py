"""Delays between retries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delay after the n-th failure in a row: first * 2^(n-1), at most `longest_seconds`."""

    first_seconds: float = 0.1
    longest_seconds: float = 30.0

    def delay_seconds(self, failures: int) -> float:
        """`failures`: how many in a row, from 1."""
        return float(min(self.longest_seconds, self.first_seconds * 2 ** min(failures - 1, 30)))
