"""The input of a decision: a model's storage, its download, and what prevents either."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from arks.contracts.resources import DownloadProgress, ModelMemory
from arks.model_manager.domain.failures import Failure
from arks.model_manager.domain.weights_source import WeightsSource


class Content(StrEnum):
    """State of the weights in a storage path."""

    ABSENT = "absent"
    """The storage does not exist."""
    CREATING = "creating"
    """Another program creates it from objects of ours; `message` names what it waits for."""
    PENDING = "pending"
    """It exists and is not usable yet; `message` names the reason. It may wait for its first download."""
    LOST = "lost"
    """It exists and is not usable any more; `message` names the reason."""
    INCOMPLETE = "incomplete"
    """It is usable; the weights of this source are not downloaded (or checked) yet."""
    DAMAGED = "damaged"
    """It was complete; files are missing or have another size."""
    REFUSED = "refused"
    """It is not usable, and a download would not help; `message` names the reason."""
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """The weights in a storage path, compared with a source."""

    content: Content
    path: str = ""
    """What engines load: a directory, or the one GGUF file in it."""
    size_bytes: int = 0
    file_count: int = 0
    sha256: str | None = None
    revision: str | None = None
    memory: ModelMemory | None = None
    message: str = ""
    failing: bool = False
    """For `PENDING` and `CREATING`: the message is a fault, not a normal wait."""


class DownloadState(StrEnum):
    WAITING = "waiting"
    """Queued behind other downloads."""
    STARTING = "starting"
    """Created and not running yet; `blocked` may name the reason."""
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a download does not start."""

    message: str
    lasting: bool
    """True if a person has to fix something; otherwise it may only be slow."""


@dataclass(frozen=True, slots=True)
class Download:
    """A download (or check) of a source that is not done; `StoredWeights` shows those that are."""

    fingerprint: str
    """Of the source."""
    state: DownloadState
    progress: DownloadProgress
    failure: Failure | None = None
    failures: int = 0
    """In a row, without progress between them."""
    ended_at: datetime | None = None
    blocked: Blocked | None = None

    @property
    def retry_at(self) -> datetime | None:
        """When a failed download is retried; None for others."""
        if self.state is not DownloadState.FAILED or self.failure is None or self.ended_at is None:
            return None
        return self.ended_at + timedelta(seconds=self.failure.retry_seconds(self.failures))

    @property
    def needs_attention(self) -> bool:
        """Whether a person should look at it. Retries continue in any case."""
        return self.failure is not None and self.failure.needs_attention(self.failures)


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that a decision depends on."""

    source: WeightsSource
    stored: StoredWeights
    download: Download | None = None
    storage_path: str = ""
    """For messages."""
    conflict: str | None = None
    """Why the storage path belongs to another model."""
    storage_fault: str | None = None
    """Why the storage could not be created."""
    storage_refused: bool = False
    """The storage cannot be created before a person fixes something."""
    obstacle: str | None = None
    """Why a download cannot begin: its Secret is missing, or the storage refuses its source."""
    new_credentials: bool = False
    """The source's credentials differ from those of the failed download."""
