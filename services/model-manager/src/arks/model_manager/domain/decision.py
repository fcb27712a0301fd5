"""Decide a model's phase, its conditions and the next step from an observation."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from arks.contracts.conditions import NEW_INCOMING
from arks.contracts.quantities import human_bytes
from arks.contracts.resources import ModelPhase
from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.observation import Content, Download, DownloadState, Observation
from arks.model_manager.domain.source_kind import SourceKind

STORAGE_RETRY_SECONDS = 5.0
"""Polling interval of storage that is not usable, and of a missing Secret."""
START_SECONDS = 1.0
"""Polling interval of a download that has not started: some causes have no change events."""
WORKER_FAILED = "CreateWorkerPodFailed"
BOUND_FAILED = "BoundFailed"
CREATE_FAILED = "CreateFailed"


class Step(StrEnum):
    NOTHING = "nothing"
    PREPARE = "prepare"
    DOWNLOAD = "download"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Status, reason and message of one condition."""

    ok: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    phase: ModelPhase
    storage: Verdict
    downloaded: Verdict | None = None
    """None: not examined."""
    step: Step = Step.NOTHING
    requeue_seconds: float | None = None
    """When to reconcile again although no change was reported."""

    @property
    def ready(self) -> bool:
        return self.phase is ModelPhase.READY

    @property
    def explanation(self) -> Verdict:
        """The verdict that explains the phase. Storage may wait for a download that does not start."""
        if self.downloaded is None:
            return self.storage
        waits = self.storage.reason == NEW_INCOMING and self.downloaded.reason == WORKER_FAILED
        return self.downloaded if self.storage.ok or waits else self.storage


def decide(observation: Observation, *, now: datetime, check_seconds: float | None) -> Decision:
    """Phase, reasons and next step. `check_seconds`: None if the storage reports losses by itself."""
    stored = observation.stored
    if observation.conflict is not None:
        return Decision(ModelPhase.FAILED, Verdict(False, CREATE_FAILED, observation.conflict), step=Step.STOP)
    if stored.content in {Content.ABSENT, Content.PENDING, Content.LOST}:
        return _without_usable_storage(observation, now)
    if stored.content is Content.CREATING:
        return _storage_of_others(observation)
    storage = Verdict(True, "CreateSucceeded", _storage_message(observation))
    if stored.content is Content.COMPLETE:
        files = f"{stored.file_count} file(s), {human_bytes(stored.size_bytes)}"
        message = f"Load the model successfully: {files}, from {observation.source.origin}"
        downloaded = Verdict(True, "ModelLoadSucceeded", message)
        return Decision(ModelPhase.READY, storage, downloaded, requeue_seconds=check_seconds)
    if stored.content is Content.REFUSED:
        return _failed(storage, stored.message, STORAGE_RETRY_SECONDS)
    return _with_storage(observation, storage, now)


def _without_usable_storage(observation: Observation, now: datetime) -> Decision:
    if observation.stored.content is Content.PENDING:
        return _storage_pending(observation, now)
    if observation.stored.content is Content.LOST:
        lost = Verdict(False, BOUND_FAILED, observation.stored.message)
        return Decision(ModelPhase.FAILED, lost, step=Step.STOP, requeue_seconds=STORAGE_RETRY_SECONDS)
    return _storage_absent(observation)


def _storage_absent(observation: Observation) -> Decision:
    if not observation.source.kind.downloads:
        message = observation.stored.message
        return _failed(Verdict(False, CREATE_FAILED, message), message, STORAGE_RETRY_SECONDS)
    fault = observation.storage_fault
    if fault is None:
        creating = Verdict(False, NEW_INCOMING, "the storage is being created")
        return Decision(ModelPhase.STORAGE_CREATING, creating, step=Step.PREPARE, requeue_seconds=0.0)
    if observation.storage_refused:
        refused = Verdict(False, CREATE_FAILED, fault)
        return Decision(ModelPhase.FAILED, refused, requeue_seconds=STORAGE_RETRY_SECONDS)
    unbound = Verdict(False, BOUND_FAILED, fault)
    return Decision(ModelPhase.STORAGE_CREATING, unbound, requeue_seconds=STORAGE_RETRY_SECONDS)


def _storage_of_others(observation: Observation) -> Decision:
    """Another program creates the storage from objects of ours: keep these as the spec has them."""
    stored, refused = observation.stored, observation.storage_refused
    failing = stored.failing or observation.storage_fault is not None
    reason = CREATE_FAILED if refused else BOUND_FAILED if failing else NEW_INCOMING
    creating = Verdict(False, reason, observation.storage_fault or stored.message)
    step = Step.NOTHING if observation.storage_fault is not None else Step.PREPARE
    phase = ModelPhase.FAILED if refused else ModelPhase.STORAGE_CREATING
    return Decision(phase, creating, step=step, requeue_seconds=STORAGE_RETRY_SECONDS)


def _storage_pending(observation: Observation, now: datetime) -> Decision:
    """Start the download nevertheless: some storage is bound only when a pod uses it."""
    stored = observation.stored
    storage = Verdict(False, BOUND_FAILED if stored.failing else NEW_INCOMING, stored.message)
    decision = _with_storage(observation, storage, now)
    phase = ModelPhase.FAILED if decision.phase is ModelPhase.FAILED else ModelPhase.STORAGE_CREATING
    worker_failed = decision.downloaded is not None and decision.downloaded.reason == WORKER_FAILED
    soon = STORAGE_RETRY_SECONDS if stored.failing or worker_failed else START_SECONDS
    return replace(decision, phase=phase, requeue_seconds=min(soon, decision.requeue_seconds or soon))


def _with_storage(observation: Observation, storage: Verdict, now: datetime) -> Decision:
    if observation.obstacle is not None:
        return _failed(storage, observation.obstacle, STORAGE_RETRY_SECONDS)
    download = observation.download
    if download is None or download.fingerprint != observation.source.fingerprint:
        return Decision(ModelPhase.MODEL_LOADING, storage, _running(observation), step=Step.DOWNLOAD)
    if download.state is DownloadState.WAITING:
        queued = Verdict(False, "ModelLoading", "queued: waiting for another download to finish")
        return Decision(ModelPhase.PENDING, storage, queued)
    if download.state is DownloadState.STARTING:
        return _starting(observation, download, storage)
    if download.state is DownloadState.RUNNING:
        return Decision(ModelPhase.MODEL_LOADING, storage, _running(observation))
    return _after_failure(observation, download, storage, now)


def _starting(observation: Observation, download: Download, storage: Verdict) -> Decision:
    if download.blocked is None:
        running = _running(observation)
        return Decision(ModelPhase.MODEL_LOADING, storage, running, requeue_seconds=START_SECONDS)
    phase = ModelPhase.FAILED if download.blocked.lasting else ModelPhase.MODEL_LOADING
    blocked = Verdict(False, WORKER_FAILED, download.blocked.message)
    return Decision(phase, storage, blocked, requeue_seconds=STORAGE_RETRY_SECONDS)


def _after_failure(observation: Observation, download: Download, storage: Verdict, now: datetime) -> Decision:
    retry_at = download.retry_at or now
    if observation.new_credentials or retry_at <= now:
        return Decision(ModelPhase.MODEL_LOADING, storage, _running(observation), step=Step.DOWNLOAD)
    delay = (retry_at - now).total_seconds()
    cause = download.failure.message if download.failure else "the download failed"
    message = f"{cause}; next retry at {retry_at:%H:%M:%S} UTC"
    if download.needs_attention:
        # New credentials in the Secret are retried at once, and only polling shows it.
        denied = download.failure is not None and download.failure.kind is FailureKind.DENIED
        return _failed(storage, message, min(delay, STORAGE_RETRY_SECONDS) if denied else delay)
    retrying = Verdict(False, "ModelLoading", message)
    return Decision(ModelPhase.MODEL_LOADING, storage, retrying, requeue_seconds=delay)


def _failed(storage: Verdict, message: str, requeue_seconds: float) -> Decision:
    failed = Verdict(False, "ModelLoadFailed", message)
    return Decision(ModelPhase.FAILED, storage, failed, requeue_seconds=requeue_seconds)


def _running(observation: Observation) -> Verdict:
    activity = "downloads" if observation.source.kind.downloads else "checks"
    message = f"{activity} {observation.source.origin}"
    if observation.stored.content is Content.DAMAGED:
        message += f" again: {observation.stored.message}"
    return Verdict(False, "ModelLoading", message)


def _storage_message(observation: Observation) -> str:
    if observation.source.kind is SourceKind.FILE:
        return f"{observation.source.path} is used in place"
    return f"Create model storage successfully({observation.storage_path})"
