"""What was seen of a model: its storage, its download, what stands in its way."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from arks.contracts.resources import DownloadProgress
from arks.kit.backoff import Backoff
from arks.model_manager.domain.protocol import FailureKind
from arks.model_manager.domain.source import Order

PATIENCE = 5
"""Failures in a row, without a byte of progress between them, after which a passing fault counts as Failed."""


class Content(StrEnum):
    ABSENT = "absent"
    """The storage does not exist."""
    PENDING = "pending"
    """It exists and cannot be used yet; `message` says what it waits for. It may be the loading that it waits for."""
    LOST = "lost"
    """It exists and cannot be used any more; `message` says why."""
    INCOMPLETE = "incomplete"
    """There, but what the order wants has not been loaded (or checked) yet."""
    DAMAGED = "damaged"
    """It was complete; files are gone or have another size."""
    REFUSED = "refused"
    """Cannot be used, and loading would not help; `message` says why."""
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies in the storage, judged by an order."""

    content: Content
    path: str = ""
    """What engines load: a directory, or the one GGUF file in it."""
    size_bytes: int = 0
    file_count: int = 0
    sha256: str | None = None
    revision: str | None = None
    message: str = ""
    failing: bool = False
    """The message of something pending is a fault, not only a wait."""


_RETRY = {
    FailureKind.NETWORK: Backoff(1.0, 60.0),
    FailureKind.CRASHED: Backoff(0.2, 60.0),
    FailureKind.CORRUPT: Backoff(2.0, 300.0),
    FailureKind.NO_SPACE: Backoff(10.0, 300.0),
    FailureKind.STORAGE: Backoff(5.0, 300.0),
    FailureKind.DENIED: Backoff(30.0, 300.0),  # a token is mended in its secret, which not every storage lets us see
    FailureKind.NOT_FOUND: Backoff(60.0, 1800.0),
    FailureKind.INVALID: Backoff(60.0, 1800.0),
}
_PASSING = frozenset({FailureKind.NETWORK, FailureKind.CRASHED})
"""Faults that usually go away by themselves within moments."""


@dataclass(frozen=True, slots=True)
class Failure:
    kind: FailureKind
    message: str


class LoadState(StrEnum):
    WAITING = "waiting"
    """For its turn."""
    STARTING = "starting"
    """Asked for, does not run yet; `blocked` may say why."""
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a loading does not start."""

    message: str
    lasting: bool
    """Somebody has to mend something; otherwise it may only take its time."""


@dataclass(frozen=True, slots=True)
class Loading:
    """A download (or check) of what an order wants, under way or failed; done ones show in `Stored`."""

    fingerprint: str
    state: LoadState
    progress: DownloadProgress
    failure: Failure | None = None
    failures: int = 0
    """In a row, without progress between them."""
    ended_at: datetime | None = None
    blocked: Blocked | None = None

    @property
    def retry_at(self) -> datetime | None:
        if self.state is not LoadState.FAILED or self.failure is None or self.ended_at is None:
            return None
        delay = _RETRY[self.failure.kind].delay_seconds(max(1, self.failures))
        return self.ended_at + timedelta(seconds=delay)

    @property
    def given_up(self) -> bool:
        """Whether people should look at it; it is tried again all the same."""
        if self.failure is None:
            return False
        return self.failure.kind not in _PASSING or self.failures >= PATIENCE


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that a decision is made from."""

    order: Order
    stored: Stored
    loading: Loading | None = None
    place: str = ""
    """Of the storage, for people."""
    conflict: str | None = None
    """Why the storage belongs to another model."""
    storage_fault: str | None = None
    """Why the storage could not be made."""
    storage_refused: bool = False
    """It will not be made until somebody mends something."""
    obstacle: str | None = None
    """Why a download cannot begin: its secret is missing, or its order is refused."""
    new_token: bool = False
    """The token is another one than the failed download had."""
