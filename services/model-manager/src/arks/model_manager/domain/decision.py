"""Phase, reasons and next step of a model, from what was seen of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from arks.contracts.conditions import NEW_INCOMING
from arks.contracts.resources import ModelPhase
from arks.model_manager.domain.orders import SourceKind
from arks.model_manager.domain.progress import human_bytes
from arks.model_manager.domain.seen import Content, Loading, LoadState, Seen
from arks.model_manager.protocol import FailureKind

STORAGE_RETRY_SECONDS = 5.0
"""How often storage that cannot be used, or a secret that is missing, is looked at again."""


class Step(StrEnum):
    NOTHING = "nothing"
    PREPARE = "prepare"
    LOAD = "load"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Verdict:
    """For one condition."""

    ok: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    phase: ModelPhase
    storage: Verdict
    loaded: Verdict | None = None
    """None: not looked at."""
    step: Step = Step.NOTHING
    again_seconds: float | None = None
    """When to look again although nothing reported a change."""

    @property
    def ready(self) -> bool:
        return self.phase is ModelPhase.READY

    @property
    def explains(self) -> Verdict:
        """The verdict that says why the phase is what it is."""
        return self.loaded if self.loaded is not None and self.storage.ok else self.storage


def decide(seen: Seen, *, now: datetime, check_seconds: float) -> Decision:
    """What the phase is, why, and what to do next."""
    if seen.conflict is not None:
        return Decision(ModelPhase.FAILED, Verdict(False, "CreateFailed", seen.conflict), step=Step.STOP)
    if seen.stored.content is Content.ABSENT:
        return _without_storage(seen)
    storage = Verdict(True, "CreateSucceeded", _storage_message(seen))
    if seen.stored.content is Content.COMPLETE:
        message = f"{seen.stored.file_count} file(s), {human_bytes(seen.stored.size_bytes)}, from {seen.order.origin}"
        loaded = Verdict(True, "ModelLoadSucceeded", message)
        return Decision(ModelPhase.READY, storage, loaded, again_seconds=check_seconds)
    if seen.stored.content is Content.REFUSED:
        return _failed(storage, seen.stored.message, STORAGE_RETRY_SECONDS)
    return _loading(seen, storage, now)


def _without_storage(seen: Seen) -> Decision:
    if seen.order.kind is not SourceKind.HUB:
        return _failed(Verdict(False, "CreateFailed", seen.stored.message), seen.stored.message, STORAGE_RETRY_SECONDS)
    if seen.storage_fault is not None:
        fault = Verdict(False, "BoundFailed", seen.storage_fault)
        return Decision(ModelPhase.STORAGE_CREATING, fault, again_seconds=STORAGE_RETRY_SECONDS)
    creating = Verdict(False, NEW_INCOMING, "the storage is being created")
    return Decision(ModelPhase.STORAGE_CREATING, creating, step=Step.PREPARE, again_seconds=0.0)


def _loading(seen: Seen, storage: Verdict, now: datetime) -> Decision:
    if seen.obstacle is not None:
        return _failed(storage, seen.obstacle, STORAGE_RETRY_SECONDS)
    loading = seen.loading
    if loading is None or loading.fingerprint != seen.order.fingerprint:
        return Decision(ModelPhase.MODEL_LOADING, storage, _under_way(seen), step=Step.LOAD)
    if loading.state is LoadState.WAITING:
        waits = Verdict(False, "ModelLoading", "waits until another download ends")
        return Decision(ModelPhase.PENDING, storage, waits)
    if loading.state is LoadState.RUNNING:
        return Decision(ModelPhase.MODEL_LOADING, storage, _under_way(seen))
    return _after_failure(seen, loading, storage, now)


def _after_failure(seen: Seen, loading: Loading, storage: Verdict, now: datetime) -> Decision:
    retry_at = loading.retry_at or now
    if seen.new_token or retry_at <= now:
        return Decision(ModelPhase.MODEL_LOADING, storage, _under_way(seen), step=Step.LOAD)
    again = (retry_at - now).total_seconds()
    why = loading.failure.message if loading.failure else "the download failed"
    message = f"{why}; tried again at {retry_at:%H:%M:%S} UTC"
    if loading.given_up:
        # A new token in the secret is a reason to try at once, and only looking shows it.
        soon = STORAGE_RETRY_SECONDS if loading.failure and loading.failure.kind is FailureKind.DENIED else again
        return _failed(storage, message, min(again, soon))
    return Decision(ModelPhase.MODEL_LOADING, storage, Verdict(False, "ModelLoading", message), again_seconds=again)


def _failed(storage: Verdict, message: str, again_seconds: float) -> Decision:
    return Decision(ModelPhase.FAILED, storage, Verdict(False, "ModelLoadFailed", message), again_seconds=again_seconds)


def _under_way(seen: Seen) -> Verdict:
    what = "checks" if seen.order.kind is SourceKind.FILE else "downloads"
    message = f"{what} {seen.order.origin}"
    if seen.stored.content is Content.DAMAGED:
        message += f" again: {seen.stored.message}"
    return Verdict(False, "ModelLoading", message)


def _storage_message(seen: Seen) -> str:
    if seen.order.kind is SourceKind.FILE:
        return f"{seen.order.path} is used in place"
    return f"storage {seen.place} exists"
