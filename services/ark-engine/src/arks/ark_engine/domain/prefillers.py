"""Which prefiller processes a prompt, and when one is avoided.

A prefiller that failed is avoided for a while, which doubles with each failure in a row: a request must not wait for
one that is away when the decoder can process the prompt itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
DEFAULT_PORT = 62000


@dataclass
class PrefillerRecord:
    """What a decoder knows of one prefiller."""

    address: str
    """host:port"""
    in_flight: int = 0
    failures: int = 0
    """In a row."""
    avoided_until: float = 0.0

    def failed(self, now: float) -> None:
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self.failures)
        self.failures = min(self.failures + 1, 10)
        self.avoided_until = now + pause

    def succeeded(self) -> None:
        self.failures = 0
        self.avoided_until = 0.0


def choose(records: Iterable[PrefillerRecord], now: float) -> PrefillerRecord | None:
    """The usable prefiller with the fewest prompts; None: the decoder processes the prompt itself."""
    usable = [record for record in records if record.avoided_until <= now]
    return min(usable, key=lambda record: record.in_flight, default=None)


def addresses(text: str) -> list[str]:
    """PREFILL_NODE_IP: one or more hosts, separated by commas, each with a port or not."""
    return [_with_port(part.strip()) for part in text.split(",") if part.strip()]


def _with_port(host: str) -> str:
    if host.count(":") > 1 and not host.startswith("["):  # an IPv6 address without a port
        return f"[{host}]:{DEFAULT_PORT}"
    return host if ":" in host.rpartition("]")[2] else f"{host}:{DEFAULT_PORT}"
