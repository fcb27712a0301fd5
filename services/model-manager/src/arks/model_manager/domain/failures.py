"""Why downloads fail, and how long the service waits before it retries. Standard library only, see `protocol`."""

from dataclasses import dataclass
from enum import StrEnum

from arks.kit.backoff import Backoff

PATIENCE = 5
"""Failures in a row, without a byte of progress between them, after which a passing fault counts as Failed."""


class FailureKind(StrEnum):
    """Why a download failed; each kind has its own backoff."""

    NETWORK = "network"
    CRASHED = "crashed"
    CORRUPT = "corrupt"
    NO_SPACE = "no-space"
    STORAGE = "storage"
    DENIED = "denied"
    NOT_FOUND = "not-found"
    INVALID = "invalid"


BACKOFFS = {
    FailureKind.NETWORK: Backoff(1.0, 60.0),
    FailureKind.CRASHED: Backoff(0.2, 60.0),
    FailureKind.CORRUPT: Backoff(2.0, 300.0),
    FailureKind.NO_SPACE: Backoff(10.0, 300.0),
    FailureKind.STORAGE: Backoff(5.0, 300.0),
    FailureKind.DENIED: Backoff(30.0, 300.0),  # a token is replaced in its Secret, which the service may not read
    FailureKind.NOT_FOUND: Backoff(60.0, 1800.0),
    FailureKind.INVALID: Backoff(60.0, 1800.0),
}
_PASSING = frozenset({FailureKind.NETWORK, FailureKind.CRASHED})
"""Faults that usually disappear by themselves within moments."""


@dataclass(frozen=True, slots=True)
class Failure:
    kind: FailureKind
    message: str
    """For the status."""

    def retry_seconds(self, failures: int) -> float:
        """Delay before the retry. `failures`: how many in a row."""
        return BACKOFFS[self.kind].delay_seconds(max(1, failures))

    def needs_attention(self, failures: int) -> bool:
        """Whether a person should look at it. Retries continue in any case."""
        return self.kind not in _PASSING or failures >= PATIENCE


class DownloadFailed(Exception):
    """A download (or check) cannot continue; the message is for the status."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
