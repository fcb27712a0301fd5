"""Programs at several addresses that do the same work: which of them gets the next call, and which is avoided.

A peer that failed is avoided for a while, which doubles with each failure in a row: no call waits for one that is away
while another can do the work.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
_MOST_DOUBLINGS = 10


@dataclass
class Peer:
    """The calls of one address, and how the last ones ended."""

    address: str
    """host:port"""
    in_flight: int = 0
    failures: int = 0
    """In a row."""
    avoided_until: float = 0.0
    """By the monotonic clock."""

    def failed(self, now: float) -> None:
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self.failures)
        self.failures = min(self.failures + 1, _MOST_DOUBLINGS)
        self.avoided_until = now + pause

    def succeeded(self) -> None:
        self.failures = 0
        self.avoided_until = 0.0


AnyPeer = TypeVar("AnyPeer", bound=Peer)


def choose(peers: Iterable[AnyPeer], now: float) -> AnyPeer | None:
    """The usable peer with the fewest calls in flight; None: all are avoided, or there is none."""
    usable = [peer for peer in peers if peer.avoided_until <= now]
    return min(usable, key=lambda peer: peer.in_flight, default=None)
