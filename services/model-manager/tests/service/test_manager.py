"""Reconciles of models, with fakes of storage, Secrets and the bus."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksModel, ArksModelSpec, ArksModelStatus, DownloadProgress, ModelPhase
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.errors import Invalid, Unavailable
from arks.kit.key import Key
from arks.kit.resource_events import ResourceEvents
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.fakes import FakeFacts, FakePublisher, FakeResources, FakeSecrets
from arks.model_manager.adapters.publisher import BusPublisher
from arks.model_manager.domain.credentials import Credentials
from arks.model_manager.domain.failures import Failure, FailureKind
from arks.model_manager.domain.observation import Content, Download, DownloadState, StoredWeights
from arks.model_manager.domain.removal import Removal
from arks.model_manager.domain.weights_source import WeightsSource
from arks.model_manager.service.manager import FINALIZER, ModelManager, Timings

TINY, OTHER = Key("default", "tiny"), Key("default", "other")
COMPLETE = StoredWeights(Content.COMPLETE, path="/m/x.gguf", size_bytes=10, file_count=1)


class Models(FakeResources[ArksModel]):
    """Models that have their finalizer, behind a cache that lags."""

    def __init__(self) -> None:
        super().__init__(lagging=True)

    async def add_finalizer(self, key: Key, finalizer: str) -> None:
        raise AssertionError("it has a finalizer")


@dataclass
class FakeStorage:
    stored: dict[str, StoredWeights] = field(default_factory=dict)
    downloads: dict[str, Download] = field(default_factory=dict)
    steps: list[tuple[str, ...]] = field(default_factory=list)
    fault: str | None = None
    refusal: str | None = None
    """Why downloads may not start."""

    def storage_path(self, key: Key, spec: ArksModelSpec) -> str:
        return spec.storage.sub_path if spec.storage and spec.storage.sub_path else str(key)

    async def observe(self, storage_path: str, source: WeightsSource) -> tuple[StoredWeights, Download | None]:
        return self.stored.get(storage_path, StoredWeights(Content.ABSENT)), self.downloads.get(storage_path)

    async def prepare(self, storage_path: str, key: Key) -> None:
        if self.fault is not None:
            raise Unavailable(self.fault)
        self.steps.append(("prepare", storage_path))
        self.stored[storage_path] = StoredWeights(Content.INCOMPLETE)

    async def download(self, storage_path: str, key: Key, source: WeightsSource, credentials: Credentials) -> None:
        if self.refusal is not None:
            raise Invalid(self.refusal)
        self.steps.append(("download", storage_path, source.repository, credentials.get("HF_TOKEN", "")))
        self.downloads[storage_path] = Download(
            source.fingerprint, DownloadState.RUNNING, DownloadProgress(total_bytes=10)
        )

    async def stop(self, storage_path: str) -> None:
        self.steps.append(("stop", storage_path))
        self.downloads.pop(storage_path, None)

    async def remove(self, storage_path: str, key: Key, *, shared: bool) -> Removal:
        if shared:
            return Removal.SHARED
        self.steps.append(("remove", storage_path))
        return Removal.REMOVED if self.stored.pop(storage_path, None) else Removal.ABSENT

    def progress(self, storage_path: str, done_bytes: int) -> None:
        before = self.downloads[storage_path]
        progress = DownloadProgress(done_bytes=done_bytes, total_bytes=10)
        self.downloads[storage_path] = Download(before.fingerprint, before.state, progress)

    def fail(self, storage_path: str, kind: FailureKind, at: datetime) -> None:
        before = self.downloads[storage_path]
        failure = Failure(kind, "why")
        self.downloads[storage_path] = Download(
            before.fingerprint, DownloadState.FAILED, before.progress, failure, 1, at
        )

    def finish(self, storage_path: str) -> None:
        del self.downloads[storage_path]
        self.stored[storage_path] = COMPLETE


class ManagerHarness:
    """A ModelManager on fakes."""

    def __init__(self, clock: FakeClock, *, reads_secrets: bool = True) -> None:
        self.clock = clock
        self.models, self.storage, self.secrets = Models(), FakeStorage(), FakeSecrets()
        self.events, self.facts = FakePublisher(), FakeFacts[ModelFact](clock)
        self.enqueued: list[Key] = []
        self.manager = ModelManager(
            models=self.models,
            storage=self.storage,
            secrets=self.secrets if reads_secrets else None,
            publisher=BusPublisher(ResourceEvents(self.events), self.facts),
            clock=clock,
            timings=Timings(check_seconds=15, progress_seconds=0.5, progress_event_seconds=1),
            default_endpoint="http://hub",
        )
        self.manager.connect(self.enqueued.append)

    def apply(
        self, key: Key, *, created_hour: int = 0, generation: int = 1, deleted: bool = False, **spec: Any
    ) -> None:
        created = datetime(2026, 1, 1, created_hour, tzinfo=UTC).isoformat()
        metadata = {"name": key.name, "uid": f"uid of {key}", "generation": generation, "creationTimestamp": created}
        metadata |= {"finalizers": [FINALIZER]} | ({"deletionTimestamp": "2026-01-02T00:00:00Z"} if deleted else {})
        spec = {"model": "acme/tiny", "source": {"huggingface": {}}} | spec
        self.models.put(ArksModel.from_dict({"kind": "ArksModel", "metadata": metadata, "spec": spec}))

    async def delete(self, **spec: Any) -> None:
        self.apply(TINY, deleted=True, **spec)
        await self.manager.reconcile(TINY)
        self.models.catch_up()

    async def reconcile(self, key: Key = TINY) -> ArksModelStatus:
        await self.manager.reconcile(key)
        return self.manager.statuses()[key]

    async def until_downloading(self, key: Key = TINY) -> None:
        await self.reconcile(key)
        await self.reconcile(key)

    async def until_ready(self, key: Key = TINY, storage_path: str | None = None) -> None:
        await self.until_downloading(key)
        self.storage.finish(storage_path or str(key))
        await self.reconcile(key)


@pytest.fixture
def harness(clock: FakeClock) -> ManagerHarness:
    return ManagerHarness(clock)


async def test_a_new_model_gets_storage_then_weights_and_is_ready(harness: ManagerHarness) -> None:
    harness.apply(TINY)
    await harness.until_ready()
    assert [("prepare", "default/tiny"), ("download", "default/tiny", "acme/tiny", "")] == harness.storage.steps
    phases = [status.phase for status in harness.models.statuses]
    assert [ModelPhase.STORAGE_CREATING, ModelPhase.MODEL_LOADING, ModelPhase.READY] == phases
    assert ["created", "downloading", "progress", "ready"] == harness.events.verbs
    assert harness.facts.facts[TINY].ready


async def test_an_unchanged_model_causes_no_writes_and_events(harness: ManagerHarness) -> None:
    harness.apply(TINY)
    await harness.until_ready()
    before = len(harness.models.statuses), len(harness.events.published)
    requeue = await harness.manager.reconcile(TINY)
    assert before == (len(harness.models.statuses), len(harness.events.published))
    assert requeue is not None
    assert 15 == requeue.after_seconds


async def test_progress_is_written_every_half_second_and_published_every_second(harness: ManagerHarness) -> None:
    harness.apply(TINY)
    await harness.until_downloading()
    written = len(harness.models.statuses)
    harness.events.published.clear()
    waits = []
    for done in range(1, 9):
        harness.clock.advance(0.25)
        harness.storage.progress("default/tiny", done)
        waits.append(await harness.manager.reconcile(TINY))
    assert [2, 4, 6, 8] == [
        status.progress.done_bytes for status in harness.models.statuses[written:] if status.progress is not None
    ]
    assert ["progress"] * 2 == harness.events.verbs
    assert waits[0] is not None
    assert 0.25 == waits[0].after_seconds


async def test_a_lagging_cache_does_not_change_the_times_of_conditions(harness: ManagerHarness) -> None:
    harness.apply(TINY)
    await harness.until_ready()
    ready = find_condition(harness.models.statuses[-1].conditions, "Ready")
    harness.clock.advance(60)
    harness.apply(TINY, generation=2, storage={"subPath": "default/tiny"})
    status = await harness.reconcile()
    now = find_condition(status.conditions, "Ready")
    assert ready is not None
    assert now is not None
    assert (ready.last_transition_time, 2) == (now.last_transition_time, now.observed_generation)


async def test_a_changed_spec_is_downloaded(harness: ManagerHarness) -> None:
    harness.apply(TINY)
    await harness.until_ready()
    harness.apply(TINY, generation=2, model="acme/bigger")
    harness.storage.stored["default/tiny"] = StoredWeights(Content.INCOMPLETE)
    status = await harness.reconcile()
    assert ("download", "default/tiny", "acme/bigger", "") == harness.storage.steps[-1]
    assert (ModelPhase.MODEL_LOADING, 2, False) == (
        status.phase,
        status.observed_generation,
        harness.facts.facts[TINY].ready,
    )


async def test_a_failed_creation_of_storage_is_reported_and_retried(harness: ManagerHarness) -> None:
    harness.apply(TINY)
    harness.storage.fault = "read-only file system"
    status = await harness.reconcile()
    condition = find_condition(status.conditions, "StorageCreated")
    assert condition is not None
    assert ("BoundFailed", "read-only file system") == (condition.reason, condition.message)
    harness.storage.fault = None
    await harness.until_ready()


async def test_a_download_without_a_model_is_stopped(harness: ManagerHarness) -> None:
    harness.apply(TINY)
    await harness.until_downloading()
    harness.storage.stored["elsewhere"] = COMPLETE
    harness.apply(TINY, generation=2, storage={"subPath": "elsewhere"})
    await harness.reconcile()
    assert ("stop", "default/tiny") in harness.storage.steps
    assert ModelPhase.READY is harness.manager.statuses()[TINY].phase


async def test_a_download_that_another_model_needs_continues(harness: ManagerHarness) -> None:
    for key in (TINY, OTHER):
        harness.apply(key, storage={"subPath": "shared"})
        await harness.until_downloading(key)
    harness.apply(OTHER, generation=2)
    await harness.reconcile(OTHER)
    assert ("stop", "shared") not in harness.storage.steps


# --- secrets

WITH_SECRET = {"huggingface": {"tokenSecretRef": {"name": "hf"}}}
SECRET = Key("default", "hf")


async def test_a_model_waits_for_its_secret(harness: ManagerHarness) -> None:
    harness.apply(TINY, source=WITH_SECRET)
    await harness.until_downloading()
    assert ModelPhase.FAILED is harness.manager.statuses()[TINY].phase
    assert "Secret default/hf, which" in harness.manager.statuses()[TINY].conditions[-1].message
    harness.secrets.values[SECRET] = {"OTHER": b"x"}
    assert "no value under HF_TOKEN" in (await harness.reconcile()).conditions[-1].message
    harness.secrets.values[SECRET] = {"HF_TOKEN": b"hf_right\n"}
    await harness.reconcile()
    assert ("download", "default/tiny", "acme/tiny", "hf_right") == harness.storage.steps[-1]


async def test_a_refused_token_is_not_retried_but_a_new_token_is_at_once(harness: ManagerHarness) -> None:
    harness.secrets.values[SECRET] = {"HF_TOKEN": b"hf_wrong"}
    harness.apply(TINY, source=WITH_SECRET)
    await harness.until_downloading()
    harness.storage.fail("default/tiny", FailureKind.DENIED, harness.clock.now())
    assert ModelPhase.FAILED is (await harness.reconcile()).phase
    harness.secrets.values[SECRET] = {"HF_TOKEN": b"hf_right"}
    assert ModelPhase.MODEL_LOADING is (await harness.reconcile()).phase
    assert "hf_right" == harness.storage.steps[-1][-1]


async def test_models_of_a_shared_path_with_two_refused_tokens_do_not_alternate_forever(
    harness: ManagerHarness,
) -> None:
    harness.secrets.values |= {SECRET: {"HF_TOKEN": b"first"}, Key("default", "hf2"): {"HF_TOKEN": b"second"}}
    shared = {"subPath": "shared"}
    harness.apply(TINY, source=WITH_SECRET, storage=shared)
    harness.apply(OTHER, source={"huggingface": {"tokenSecretRef": {"name": "hf2"}}}, storage=shared)
    for _ in range(5):
        for key in (TINY, OTHER):
            await harness.reconcile(key)
            if "shared" in harness.storage.downloads:
                harness.storage.fail("shared", FailureKind.DENIED, harness.clock.now())
    assert ["second", "first"] == [step[-1] for step in harness.storage.steps if step[0] == "download"]


# --- sharing


async def test_models_with_the_same_sub_path_download_once_and_are_both_ready(harness: ManagerHarness) -> None:
    for key in (TINY, OTHER):
        harness.apply(key, storage={"subPath": "shared"})
    await harness.until_downloading()
    await harness.reconcile(OTHER)
    harness.enqueued.clear()
    harness.manager.storage_changed("shared")
    assert [TINY, OTHER] == harness.enqueued
    harness.storage.finish("shared")
    for key in (TINY, OTHER):
        assert ModelPhase.READY is (await harness.reconcile(key)).phase
    assert 1 == sum(step[0] == "download" for step in harness.storage.steps)


async def test_a_younger_model_with_other_weights_waits_until_the_path_is_free(harness: ManagerHarness) -> None:
    harness.apply(TINY, storage={"subPath": "shared"})
    harness.apply(OTHER, created_hour=1, model="acme/other", storage={"subPath": "shared"})
    await harness.until_ready(storage_path="shared")
    status = await harness.reconcile(OTHER)
    assert (ModelPhase.FAILED, "CreateFailed") == (status.phase, status.conditions[0].reason)
    harness.enqueued.clear()
    await harness.delete(storage={"subPath": "shared"})
    assert [OTHER] == harness.enqueued
    harness.storage.stored["shared"] = StoredWeights(Content.INCOMPLETE)
    assert ModelPhase.MODEL_LOADING is (await harness.reconcile(OTHER)).phase


# --- deletion


async def test_a_deleted_model_loses_its_fact_download_and_files(harness: ManagerHarness) -> None:
    harness.apply(TINY)
    await harness.until_ready()
    await harness.delete()
    assert [("stop", "default/tiny"), ("remove", "default/tiny")] == harness.storage.steps[-2:]
    event = harness.events.published[-1]
    assert (TINY, "deleted", "files in default/tiny removed") == (event.key, event.verb, event.event.message)
    assert TINY not in harness.facts.facts
    await harness.manager.reconcile(TINY)
    assert {} == harness.manager.statuses()


async def test_files_that_another_model_uses_are_kept(harness: ManagerHarness) -> None:
    harness.apply(TINY, storage={"subPath": "shared"})
    harness.apply(OTHER, storage={"subPath": "shared"})
    await harness.until_ready(storage_path="shared")
    await harness.delete(storage={"subPath": "shared"})
    assert "files kept: also used by default/other" == harness.events.published[-1].event.message
    assert "shared" in harness.storage.stored


async def test_a_local_file_is_never_removed(harness: ManagerHarness) -> None:
    harness.storage.stored["default/tiny"] = COMPLETE
    harness.apply(TINY, source={"file": {"path": "/data/x.gguf"}})
    await harness.reconcile()
    await harness.delete(source={"file": {"path": "/data/x.gguf"}})
    assert "/data/x.gguf kept: it was used in place" == harness.events.published[-1].event.message


# --- where the service may not read Secrets


async def test_a_secret_that_the_service_may_not_read_blocks_no_download(clock: FakeClock) -> None:
    harness = ManagerHarness(clock, reads_secrets=False)
    harness.apply(TINY, source={"huggingface": {"tokenSecretRef": "hub"}})
    await harness.until_downloading()
    assert ("download", "default/tiny", "acme/tiny", "") == harness.storage.steps[-1]
    harness.storage.fail("default/tiny", FailureKind.DENIED, harness.clock.now())
    steps = len(harness.storage.steps)
    assert ModelPhase.FAILED is (await harness.reconcile()).phase
    assert steps == len(harness.storage.steps)


async def test_a_refused_source_fails_with_the_reason_and_is_retried(harness: ManagerHarness) -> None:
    harness.apply(TINY)
    harness.storage.refusal = "resources.requests: quantities must match"
    await harness.until_downloading()
    status = harness.manager.statuses()[TINY]
    ready = find_condition(status.conditions, "Ready")
    assert ready is not None
    assert (ModelPhase.FAILED, harness.storage.refusal) == (status.phase, ready.message)
    harness.storage.refusal = None
    assert ModelPhase.MODEL_LOADING is (await harness.reconcile()).phase


# --- models that cannot be read


async def test_a_model_that_cannot_be_read_keeps_its_files_and_its_fact(harness: ManagerHarness) -> None:
    harness.models.put_unreadable(TINY)
    await harness.manager.reconcile(TINY)
    assert ([], [], True) == (harness.storage.steps, harness.models.released, harness.facts.keeps(TINY))


async def test_the_deletion_of_a_model_that_cannot_be_read_ends(harness: ManagerHarness) -> None:
    harness.models.put_unreadable(TINY)
    await harness.manager.reconcile(TINY)
    harness.models.put_unreadable(TINY, deleting=True)
    await harness.manager.reconcile(TINY)
    assert ([(TINY, FINALIZER)], False) == (harness.models.released, harness.facts.keeps(TINY))


async def test_no_files_are_removed_while_a_model_that_cannot_be_read_may_use_them(harness: ManagerHarness) -> None:
    harness.apply(TINY)
    await harness.until_ready()
    harness.models.put_unreadable(OTHER)
    before = list(harness.storage.steps)
    with pytest.raises(Unavailable, match=f"ArksModel {OTHER} cannot be read and may use them"):
        await harness.delete()
    assert before == harness.storage.steps
    harness.models.put_unreadable(OTHER, deleting=True)
    await harness.manager.reconcile(TINY)
    assert ("remove", str(TINY)) in harness.storage.steps
