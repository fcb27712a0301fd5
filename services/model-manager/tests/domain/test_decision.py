"""Phase, reasons and step for what can be seen of a model."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from arks.contracts.conditions import NEW_INCOMING
from arks.contracts.resources import DownloadProgress, ModelPhase
from arks.model_manager.domain.decision import Decision, Step, decide
from arks.model_manager.domain.failures import Failure, FailureKind
from arks.model_manager.domain.observation import Blocked, Content, Download, DownloadState, Observation, StoredWeights
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.weights_source import WeightsSource

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HUB = WeightsSource(SourceKind.HUB, repository="acme/tiny", endpoint="http://hub")
FILE = WeightsSource(SourceKind.FILE, path="/models/x.gguf")
STORED = WeightsSource(SourceKind.STORED)
COMPLETE = StoredWeights(Content.COMPLETE, path="/m/x.gguf", size_bytes=98_900_000, file_count=2)
INCOMPLETE = StoredWeights(Content.INCOMPLETE)


def decided(seen: Observation) -> Decision:
    return decide(seen, now=NOW, check_seconds=15)


PENDING = StoredWeights(Content.PENDING, message="waits for its first consumer")
UNBOUND = StoredWeights(Content.PENDING, message="no such class", failing=True)


def starting(blocked: Blocked | None = None) -> Download:
    return Download(HUB.fingerprint, DownloadState.STARTING, DownloadProgress(), blocked=blocked)


def download(
    state: DownloadState, kind: FailureKind | None = None, failures: int = 1, ago_seconds: float = 0
) -> Download:
    failure = None if kind is None else Failure(kind, "why")
    ended = NOW - timedelta(seconds=ago_seconds)
    return Download(HUB.fingerprint, state, DownloadProgress(), failure, failures, ended)


def test_absent_storage_is_created_first() -> None:
    decision = decided(Observation(HUB, StoredWeights(Content.ABSENT)))
    assert (ModelPhase.STORAGE_CREATING, Step.PREPARE, False) == (decision.phase, decision.step, decision.storage.ok)
    assert NEW_INCOMING == decision.storage.reason


def test_storage_that_another_program_creates_is_prepared_until_it_is_usable() -> None:
    decision = decided(Observation(STORED, StoredWeights(Content.CREATING, message="Dataset a is NotBound")))
    assert (ModelPhase.STORAGE_CREATING, Step.PREPARE, 5) == (decision.phase, decision.step, decision.requeue_seconds)
    assert (NEW_INCOMING, "Dataset a is NotBound") == (decision.storage.reason, decision.storage.message)
    failing = StoredWeights(Content.CREATING, message="DataLoad a is Failed", failing=True)
    assert "BoundFailed" == decided(Observation(STORED, failing)).storage.reason


def test_storage_of_another_program_that_cannot_be_prepared_is_failed() -> None:
    creating = StoredWeights(Content.CREATING, message="Dataset a is being created")
    seen = Observation(STORED, creating, storage_fault="Fluid is not installed", storage_refused=True)
    decision = decided(seen)
    assert (ModelPhase.FAILED, Step.NOTHING) == (decision.phase, decision.step)
    assert ("CreateFailed", "Fluid is not installed") == (decision.storage.reason, decision.storage.message)


def test_a_failed_creation_of_storage_is_retried() -> None:
    decision = decided(Observation(HUB, StoredWeights(Content.ABSENT), storage_fault="read-only"))
    assert (ModelPhase.STORAGE_CREATING, Step.NOTHING) == (decision.phase, decision.step)
    assert ("BoundFailed", "read-only") == (decision.storage.reason, decision.storage.message)
    assert decision.requeue_seconds == 5


def test_missing_weights_are_downloaded() -> None:
    decision = decided(Observation(HUB, INCOMPLETE))
    assert (ModelPhase.MODEL_LOADING, Step.DOWNLOAD) == (decision.phase, decision.step)
    assert decision.downloaded is not None
    assert "ModelLoading" == decision.downloaded.reason


def test_weights_of_another_source_are_downloaded_anew() -> None:
    old = replace(download(DownloadState.RUNNING), fingerprint="of another source")
    assert Step.DOWNLOAD is decided(Observation(HUB, INCOMPLETE, old)).step


def test_a_running_download_continues() -> None:
    decision = decided(Observation(HUB, INCOMPLETE, download(DownloadState.RUNNING)))
    assert (ModelPhase.MODEL_LOADING, Step.NOTHING) == (decision.phase, decision.step)


def test_a_queued_download_is_pending() -> None:
    decision = decided(Observation(HUB, INCOMPLETE, download(DownloadState.WAITING)))
    assert (ModelPhase.PENDING, Step.NOTHING) == (decision.phase, decision.step)


def test_complete_weights_are_ready_and_checked_periodically() -> None:
    decision = decided(Observation(HUB, COMPLETE))
    assert (ModelPhase.READY, Step.NOTHING, 15) == (decision.phase, decision.step, decision.requeue_seconds)
    assert decision.downloaded is not None
    message = "Load the model successfully: 2 file(s), 98.9 MB, from acme/tiny (main) at http://hub"
    assert ("ModelLoadSucceeded", message) == (
        decision.downloaded.reason,
        decision.downloaded.message,
    )


def test_lost_files_are_downloaded_again_and_named() -> None:
    decision = decided(Observation(HUB, StoredWeights(Content.DAMAGED, message="x.gguf is gone")))
    assert (ModelPhase.MODEL_LOADING, Step.DOWNLOAD) == (decision.phase, decision.step)
    assert decision.downloaded is not None
    assert decision.downloaded.message.endswith("again: x.gguf is gone")


@pytest.mark.parametrize("kind", [FailureKind.NETWORK, FailureKind.CRASHED])
def test_a_passing_fault_is_failed_only_after_several_retries(kind: FailureKind) -> None:
    few = decided(Observation(HUB, INCOMPLETE, download(DownloadState.FAILED, kind, failures=4)))
    many = decided(Observation(HUB, INCOMPLETE, download(DownloadState.FAILED, kind, failures=5)))
    assert (ModelPhase.MODEL_LOADING, ModelPhase.FAILED) == (few.phase, many.phase)
    assert few.requeue_seconds


@pytest.mark.parametrize(
    "kind", [FailureKind.DENIED, FailureKind.NOT_FOUND, FailureKind.INVALID, FailureKind.CORRUPT, FailureKind.NO_SPACE]
)
def test_a_lasting_fault_is_failed_at_once_with_the_next_retry_in_the_message(kind: FailureKind) -> None:
    decision = decided(Observation(HUB, INCOMPLETE, download(DownloadState.FAILED, kind)))
    assert (ModelPhase.FAILED, Step.NOTHING) == (decision.phase, decision.step)
    assert decision.downloaded is not None
    assert "ModelLoadFailed" == decision.downloaded.reason
    assert decision.downloaded.message.startswith("why; next retry at 00:")


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_failure_is_retried(kind: FailureKind) -> None:
    late = download(DownloadState.FAILED, kind, failures=50, ago_seconds=1800)
    assert Step.DOWNLOAD is decided(Observation(HUB, INCOMPLETE, late)).step


def test_a_new_token_is_tried_immediately() -> None:
    refused = download(DownloadState.FAILED, FailureKind.DENIED)
    assert Step.NOTHING is decided(Observation(HUB, INCOMPLETE, refused)).step
    assert Step.DOWNLOAD is decided(Observation(HUB, INCOMPLETE, refused, new_credentials=True)).step


def test_a_missing_secret_is_failed_and_polled() -> None:
    decision = decided(Observation(HUB, INCOMPLETE, obstacle="Secret default/hf does not exist"))
    assert (ModelPhase.FAILED, Step.NOTHING, 5) == (decision.phase, decision.step, decision.requeue_seconds)


def test_storage_of_another_model_is_not_touched() -> None:
    decision = decided(Observation(HUB, COMPLETE, conflict="taken"))
    assert (ModelPhase.FAILED, Step.STOP) == (decision.phase, decision.step)
    assert ("CreateFailed", "taken") == (decision.storage.reason, decision.storage.message)


@pytest.mark.parametrize("source", [FILE, STORED])
def test_weights_that_users_provide_are_failed_until_they_exist(source: WeightsSource) -> None:
    absent = decided(Observation(source, StoredWeights(Content.ABSENT, message="not there")))
    refused = decided(Observation(source, StoredWeights(Content.REFUSED, message="empty")))
    assert (ModelPhase.FAILED, ModelPhase.FAILED) == (absent.phase, refused.phase)
    assert ("not there", "empty") == (absent.explanation.message, refused.explanation.message)
    assert ("CreateFailed", True) == (absent.storage.reason, refused.storage.ok)
    assert (5, 5) == (absent.requeue_seconds, refused.requeue_seconds)


# --- storage and downloads that take their time


def test_pending_storage_gets_a_download_that_uses_it() -> None:
    decision = decided(Observation(HUB, PENDING))
    assert (ModelPhase.STORAGE_CREATING, Step.DOWNLOAD) == (decision.phase, decision.step)
    assert (False, NEW_INCOMING) == (decision.storage.ok, decision.storage.reason)
    assert 1 == decision.requeue_seconds


def test_unbound_storage_has_its_reason_and_is_polled() -> None:
    decision = decided(Observation(HUB, UNBOUND, starting(Blocked("unbound claims", lasting=False))))
    assert (ModelPhase.STORAGE_CREATING, "BoundFailed") == (decision.phase, decision.storage.reason)
    assert "no such class" == decision.explanation.message
    assert 5 == decision.requeue_seconds


def test_a_download_that_does_not_start_explains_pending_storage() -> None:
    decision = decided(Observation(HUB, PENDING, starting(Blocked("no such image", lasting=True))))
    assert (ModelPhase.FAILED, "no such image") == (decision.phase, decision.explanation.message)
    assert 5 == decision.requeue_seconds


def test_lost_storage_is_failed_and_its_download_stopped() -> None:
    decision = decided(Observation(HUB, StoredWeights(Content.LOST, message="is being deleted")))
    assert (ModelPhase.FAILED, Step.STOP, 5) == (decision.phase, decision.step, decision.requeue_seconds)
    assert ("BoundFailed", "is being deleted") == (decision.storage.reason, decision.explanation.message)


def test_refused_storage_is_failed_and_retried() -> None:
    decision = decided(Observation(HUB, StoredWeights(Content.ABSENT), storage_fault="no spec", storage_refused=True))
    assert (ModelPhase.FAILED, "CreateFailed") == (decision.phase, decision.storage.reason)
    assert 5 == decision.requeue_seconds


def test_a_starting_download_is_polled_soon() -> None:
    decision = decided(Observation(HUB, INCOMPLETE, starting()))
    assert (ModelPhase.MODEL_LOADING, Step.NOTHING, 1) == (decision.phase, decision.step, decision.requeue_seconds)


@pytest.mark.parametrize(("lasting", "phase"), [(True, ModelPhase.FAILED), (False, ModelPhase.MODEL_LOADING)])
def test_a_blocked_download_has_its_reason_and_is_failed_if_that_lasts(lasting: bool, phase: ModelPhase) -> None:
    decision = decided(Observation(HUB, INCOMPLETE, starting(Blocked("why", lasting=lasting))))
    assert phase is decision.phase
    assert decision.downloaded is not None
    assert ("CreateWorkerPodFailed", "why") == (decision.downloaded.reason, decision.downloaded.message)


def test_weights_that_users_provide_may_need_a_check_first() -> None:
    decision = decided(Observation(STORED, INCOMPLETE))
    assert (ModelPhase.MODEL_LOADING, Step.DOWNLOAD) == (decision.phase, decision.step)
    assert decision.downloaded is not None
    assert "checks the storage" == decision.downloaded.message


def test_storage_that_reports_losses_is_not_polled() -> None:
    assert decide(Observation(HUB, COMPLETE), now=NOW, check_seconds=None).requeue_seconds is None
