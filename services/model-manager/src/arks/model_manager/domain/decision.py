"""Phase, reasons and next step of a model, from what was seen of it."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from arks.contracts.conditions import NEW_INCOMING
from arks.contracts.resources import ModelPhase
from arks.model_manager.domain.observation import Content, Loading, LoadState, Seen
from arks.model_manager.domain.progress import human_bytes
from arks.model_manager.domain.protocol import FailureKind
from arks.model_manager.domain.source import SourceKind

STORAGE_RETRY_SECONDS = 5.0
"""How often storage that cannot be used, or a secret that is missing, is looked at again."""
START_SECONDS = 1.0
"""How often a loading that has not started is looked at: not everything that holds it up reports itself."""
WORKER_FAILED = "CreateWorkerPodFailed"
BOUND_FAILED = "BoundFailed"
CREATE_FAILED = "CreateFailed"


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
        """The verdict that says why the phase is what it is. Storage may wait for a loading that does not start."""
        waits = self.storage.reason == NEW_INCOMING and self.loaded is not None and self.loaded.reason == WORKER_FAILED
        return self.loaded if self.loaded is not None and (self.storage.ok or waits) else self.storage


def decide(seen: Seen, *, now: datetime, check_seconds: float | None) -> Decision:
    """What the phase is, why, and what to do next. `check_seconds`: None when the storage itself reports its losses."""
    if seen.conflict is not None:
        return Decision(ModelPhase.FAILED, Verdict(False, CREATE_FAILED, seen.conflict), step=Step.STOP)
    if seen.stored.content in {Content.ABSENT, Content.PENDING, Content.LOST}:
        return _unusable(seen, now)
    storage = Verdict(True, "CreateSucceeded", _storage_message(seen))
    if seen.stored.content is Content.COMPLETE:
        what = f"{seen.stored.file_count} file(s), {human_bytes(seen.stored.size_bytes)}, from {seen.order.origin}"
        message = f"Load the model successfully: {what}"
        loaded = Verdict(True, "ModelLoadSucceeded", message)
        return Decision(ModelPhase.READY, storage, loaded, again_seconds=check_seconds)
    if seen.stored.content is Content.REFUSED:
        return _failed(storage, seen.stored.message, STORAGE_RETRY_SECONDS)
    return _loading(seen, storage, now)


def _unusable(seen: Seen, now: datetime) -> Decision:
    """The storage has to be made, or waited for, or given up."""
    if seen.stored.content is Content.PENDING:
        return _pending(seen, now)
    if seen.stored.content is Content.LOST:
        lost = Verdict(False, BOUND_FAILED, seen.stored.message)
        return Decision(ModelPhase.FAILED, lost, step=Step.STOP, again_seconds=STORAGE_RETRY_SECONDS)
    return _without_storage(seen)


def _without_storage(seen: Seen) -> Decision:
    if seen.order.kind is not SourceKind.HUB:
        return _failed(Verdict(False, CREATE_FAILED, seen.stored.message), seen.stored.message, STORAGE_RETRY_SECONDS)
    if seen.storage_fault is not None and seen.storage_refused:
        refused = Verdict(False, CREATE_FAILED, seen.storage_fault)
        return Decision(ModelPhase.FAILED, refused, again_seconds=STORAGE_RETRY_SECONDS)
    if seen.storage_fault is not None:
        fault = Verdict(False, BOUND_FAILED, seen.storage_fault)
        return Decision(ModelPhase.STORAGE_CREATING, fault, again_seconds=STORAGE_RETRY_SECONDS)
    creating = Verdict(False, NEW_INCOMING, "the storage is being created")
    return Decision(ModelPhase.STORAGE_CREATING, creating, step=Step.PREPARE, again_seconds=0.0)


def _pending(seen: Seen, now: datetime) -> Decision:
    """A loading is begun all the same: some storage is bound only when something wants to use it."""
    storage = Verdict(False, BOUND_FAILED if seen.stored.failing else NEW_INCOMING, seen.stored.message)
    decision = _loading(seen, storage, now)
    phase = ModelPhase.FAILED if decision.phase is ModelPhase.FAILED else ModelPhase.STORAGE_CREATING
    explained = seen.stored.failing or (decision.loaded is not None and decision.loaded.reason == WORKER_FAILED)
    soon = STORAGE_RETRY_SECONDS if explained else START_SECONDS
    return replace(decision, phase=phase, again_seconds=min(soon, decision.again_seconds or soon))


def _loading(seen: Seen, storage: Verdict, now: datetime) -> Decision:
    if seen.obstacle is not None:
        return _failed(storage, seen.obstacle, STORAGE_RETRY_SECONDS)
    loading = seen.loading
    if loading is None or loading.fingerprint != seen.order.fingerprint:
        return Decision(ModelPhase.MODEL_LOADING, storage, _under_way(seen), step=Step.LOAD)
    if loading.state is LoadState.WAITING:
        waits = Verdict(False, "ModelLoading", "waits until another download ends")
        return Decision(ModelPhase.PENDING, storage, waits)
    if loading.state is LoadState.STARTING:
        return _starting(seen, loading, storage)
    if loading.state is LoadState.RUNNING:
        return Decision(ModelPhase.MODEL_LOADING, storage, _under_way(seen))
    return _after_failure(seen, loading, storage, now)


def _starting(seen: Seen, loading: Loading, storage: Verdict) -> Decision:
    if loading.blocked is None:
        return Decision(ModelPhase.MODEL_LOADING, storage, _under_way(seen), again_seconds=START_SECONDS)
    phase = ModelPhase.FAILED if loading.blocked.lasting else ModelPhase.MODEL_LOADING
    blocked = Verdict(False, WORKER_FAILED, loading.blocked.message)
    return Decision(phase, storage, blocked, again_seconds=STORAGE_RETRY_SECONDS)


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
    what = "downloads" if seen.order.kind is SourceKind.HUB else "checks"
    message = f"{what} {seen.order.origin}"
    if seen.stored.content is Content.DAMAGED:
        message += f" again: {seen.stored.message}"
    return Verdict(False, "ModelLoading", message)


def _storage_message(seen: Seen) -> str:
    if seen.order.kind is SourceKind.FILE:
        return f"{seen.order.path} is used in place"
    return f"Create model storage successfully({seen.place})"
