"""Statuses after decisions, and the events between them."""

from datetime import UTC, datetime, timedelta

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksModelStatus, DownloadProgress, ModelPhase
from arks.model_manager.domain.decision import Decision, decide
from arks.model_manager.domain.observation import Content, Observation, StoredWeights
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.status import event_verbs, status_of
from arks.model_manager.domain.weights_source import WeightsSource

HUB = WeightsSource(SourceKind.HUB, repository="acme/tiny", endpoint="http://hub")
THEN = datetime(2026, 1, 1, tzinfo=UTC)
LATER = THEN + timedelta(hours=1)
COMPLETE = StoredWeights(
    Content.COMPLETE, path="/m/x.gguf", size_bytes=10, file_count=1, sha256="ab", revision="c0ffee"
)


def decided(stored: StoredWeights) -> Decision:
    return decide(Observation(HUB, stored), now=THEN, check_seconds=15)


def status_after(
    stored: StoredWeights, before: ArksModelStatus | None = None, now: datetime = THEN, generation: int = 1
) -> ArksModelStatus:
    return status_of(decided(stored), stored, None, before, generation=generation, now=now)


def condition(status: ArksModelStatus, type_: str) -> tuple[str, str, datetime, int | None]:
    found = find_condition(status.conditions, type_)
    assert found is not None
    return found.status, found.reason, found.last_transition_time, found.observed_generation


def test_the_first_status_has_all_three_conditions() -> None:
    status = status_after(StoredWeights(Content.ABSENT))
    assert ["StorageCreated", "ModelLoaded", "Ready"] == [found.type for found in status.conditions]
    assert ("False", "NewIncomming", THEN, 1) == condition(status, "ModelLoaded")


def test_a_ready_model_has_path_sizes_and_revision() -> None:
    status = status_after(COMPLETE)
    assert ("/m/x.gguf", 10, 1, "ab", "c0ffee") == (
        status.path,
        status.size_bytes,
        status.file_count,
        status.sha256,
        status.revision,
    )
    assert ("True", "Ready", THEN, 1) == condition(status, "Ready")


def test_a_conditions_time_changes_only_with_its_status() -> None:
    download = status_after(StoredWeights(Content.INCOMPLETE))
    ready = status_after(COMPLETE, download, LATER, generation=2)
    assert ("True", "CreateSucceeded", THEN, 2) == condition(ready, "StorageCreated")
    assert ("True", "ModelLoadSucceeded", LATER, 2) == condition(ready, "ModelLoaded")


def test_a_model_without_its_files_is_not_ready_and_has_the_reason() -> None:
    lost = status_after(StoredWeights(Content.DAMAGED, message="x is gone"), status_after(COMPLETE), LATER)
    status, reason, at, _ = condition(lost, "Ready")
    assert ("False", "ModelLoading", LATER) == (status, reason, at)
    assert lost.path is None


def test_each_change_of_phase_has_one_event() -> None:
    new = status_after(StoredWeights(Content.ABSENT))
    download, ready = status_after(StoredWeights(Content.INCOMPLETE), new), status_after(COMPLETE)
    failed = ArksModelStatus(phase=ModelPhase.FAILED)
    assert ["created"] == event_verbs(None, new)
    assert ["downloading"] == event_verbs(new, download)
    assert ["ready"] == event_verbs(download, ready)
    assert ["failed"] == event_verbs(download, failed)
    assert [] == event_verbs(download, download.model_copy(update={"progress": DownloadProgress(done_bytes=1)}))
    assert ["created", "ready"] == event_verbs(None, ready)
