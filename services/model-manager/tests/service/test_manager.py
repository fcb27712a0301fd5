"""One model's way through the service, with storage, secrets and bus of paper."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksModel, ArksModelSpec, ArksModelStatus, DownloadProgress, ModelPhase
from arks.kit.cache import Cache
from arks.kit.errors import Invalid, Unavailable
from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock
from arks.model_manager.domain.observation import Content, Failure, Loading, LoadState, Stored
from arks.model_manager.domain.path_use import Removal
from arks.model_manager.domain.protocol import FailureKind
from arks.model_manager.domain.source import Order
from arks.model_manager.service.manager import FINALIZER, ModelManager, Pace

TINY, OTHER = Key("default", "tiny"), Key("default", "other")
COMPLETE = Stored(Content.COMPLETE, path="/m/x.gguf", size_bytes=10, file_count=1)


class PaperModels:
    """Resources without a server; statuses arrive in the cache when `deliver` says so."""

    def __init__(self) -> None:
        self.cache: Cache[ArksModel] = Cache()
        self.cache.synced.set()
        self.written: list[ArksModelStatus] = []

    def put(self, key: Key, *, created_hour: int = 0, generation: int = 1, deleted: bool = False, **spec: Any) -> None:
        metadata: dict[str, Any] = {
            "name": key.name,
            "namespace": key.namespace,
            "uid": f"uid of {key}",
            "generation": generation,
            "finalizers": [FINALIZER],
            "creationTimestamp": datetime(2026, 1, 1, created_hour, tzinfo=UTC).isoformat(),
        }
        if deleted:
            metadata["deletionTimestamp"] = "2026-01-02T00:00:00Z"
        before = self.cache.get(key)
        model = ArksModel.from_dict(
            {
                "apiVersion": "arks.ai/v1",
                "kind": "ArksModel",
                "metadata": metadata,
                "spec": {"model": "acme/tiny", "source": {"huggingface": {}}, **spec},
            }
        )
        self.cache.apply(key, model.model_copy(update={"status": before.status if before else None}))

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        assert isinstance(status, ArksModelStatus)
        self.written.append(status)

    async def add_finalizer(self, key: Key, finalizer: str) -> None:
        raise AssertionError("it has one")

    async def remove_finalizer(self, key: Key, finalizer: str) -> None:
        self.cache.apply(key, None)


@dataclass
class PaperStorage:
    stored: dict[str, Stored] = field(default_factory=dict)
    loading: dict[str, Loading] = field(default_factory=dict)
    steps: list[tuple[str, ...]] = field(default_factory=list)
    fault: str | None = None
    refusal: str | None = None
    """Why downloads may not begin."""

    def place(self, key: Key, spec: ArksModelSpec) -> str:
        return spec.storage.sub_path if spec.storage and spec.storage.sub_path else str(key)

    async def observe(self, place: str, order: Order) -> tuple[Stored, Loading | None]:
        return self.stored.get(place, Stored(Content.ABSENT)), self.loading.get(place)

    async def prepare(self, place: str, key: Key) -> None:
        if self.fault is not None:
            raise Unavailable(self.fault)
        self.steps.append(("prepare", place))
        self.stored[place] = Stored(Content.INCOMPLETE)

    async def load(self, place: str, key: Key, order: Order, token: str | None) -> None:
        if self.refusal is not None:
            raise Invalid(self.refusal)
        self.steps.append(("load", place, order.repository, token or ""))
        self.loading[place] = Loading(order.fingerprint, LoadState.RUNNING, DownloadProgress(total_bytes=10))

    async def stop(self, place: str) -> None:
        self.steps.append(("stop", place))
        self.loading.pop(place, None)

    async def remove(self, place: str, key: Key, *, shared: bool) -> Removal:
        if shared:
            return Removal.SHARED
        self.steps.append(("remove", place))
        return Removal.REMOVED if self.stored.pop(place, None) else Removal.ABSENT

    def progress(self, place: str, done_bytes: int) -> None:
        before = self.loading[place]
        progress = DownloadProgress(done_bytes=done_bytes, total_bytes=10)
        self.loading[place] = Loading(before.fingerprint, before.state, progress)

    def fail(self, place: str, kind: FailureKind, at: datetime) -> None:
        before = self.loading[place]
        failure = Failure(kind, "why")
        self.loading[place] = Loading(before.fingerprint, LoadState.FAILED, before.progress, failure, 1, at)

    def finish(self, place: str) -> None:
        del self.loading[place]
        self.stored[place] = COMPLETE


@dataclass
class PaperBus:
    events: list[tuple[str, str]] = field(default_factory=list)
    messages: list[str | None] = field(default_factory=list)
    ready: dict[Key, bool] = field(default_factory=dict)
    completed: asyncio.Event = field(default_factory=asyncio.Event)

    def fact(self, model: ArksModel, status: ArksModelStatus) -> None:
        self.ready[Key(model.namespace, model.name)] = status.phase is ModelPhase.READY

    def event(self, verb: str, model: ArksModel, status: ArksModelStatus, message: str | None = None) -> None:
        self.events.append((model.name, verb))
        self.messages.append(message)

    def gone(self, key: Key) -> None:
        self.ready.pop(key, None)

    def complete(self) -> None:
        self.completed.set()


@dataclass
class PaperSecrets:
    values: dict[Key, Mapping[str, bytes]] = field(default_factory=dict)

    async def read(self, key: Key) -> Mapping[str, bytes] | None:
        return self.values.get(key)


class Desk:
    """The service and everything around it."""

    def __init__(self, clock: FakeClock, *, reads_secrets: bool = True) -> None:
        self.clock = clock
        self.models, self.storage, self.bus, self.secrets = PaperModels(), PaperStorage(), PaperBus(), PaperSecrets()
        self.woken: list[Key] = []
        self.manager = ModelManager(
            models=self.models,
            storage=self.storage,
            secrets=self.secrets if reads_secrets else None,
            announcer=self.bus,
            clock=clock,
            pace=Pace(check_seconds=15, progress_seconds=0.5, progress_event_seconds=1),
            default_endpoint="http://hub",
        )
        self.manager.neighbour_changed = self.woken.append

    async def reconcile(self, key: Key = TINY) -> ArksModelStatus:
        await self.manager.reconcile(key)
        return self.manager.statuses()[key]

    async def until_loading(self, key: Key = TINY) -> None:
        await self.reconcile(key)
        await self.reconcile(key)

    async def until_ready(self, key: Key = TINY, place: str | None = None) -> None:
        await self.until_loading(key)
        self.storage.finish(place or str(key))
        await self.reconcile(key)


@pytest.fixture
def desk(clock: FakeClock) -> Desk:
    return Desk(clock)


async def test_a_new_model_gets_storage_then_weights_then_is_ready(desk: Desk) -> None:
    desk.models.put(TINY)
    await desk.until_ready()
    assert [("prepare", "default/tiny"), ("load", "default/tiny", "acme/tiny", "")] == desk.storage.steps
    phases = [status.phase for status in desk.models.written]
    assert [ModelPhase.STORAGE_CREATING, ModelPhase.MODEL_LOADING, ModelPhase.READY] == phases
    assert ["created", "downloading", "progress", "ready"] == [verb for _, verb in desk.bus.events]
    assert desk.bus.ready[TINY]


async def test_nothing_is_written_or_told_when_nothing_changed(desk: Desk) -> None:
    desk.models.put(TINY)
    await desk.until_ready()
    told = len(desk.models.written), len(desk.bus.events)
    requeue = await desk.manager.reconcile(TINY)
    assert told == (len(desk.models.written), len(desk.bus.events))
    assert requeue is not None
    assert 15 == requeue.after_seconds


async def test_progress_is_written_at_most_every_half_second_and_told_every_second(desk: Desk) -> None:
    desk.models.put(TINY)
    await desk.until_loading()
    written = len(desk.models.written)
    desk.bus.events.clear()
    waits = []
    for done in range(1, 9):
        desk.clock.advance(0.25)
        desk.storage.progress("default/tiny", done)
        waits.append(await desk.manager.reconcile(TINY))
    assert [2, 4, 6, 8] == [
        status.progress.done_bytes for status in desk.models.written[written:] if status.progress is not None
    ]
    assert [("tiny", "progress")] * 2 == desk.bus.events
    assert waits[0] is not None
    assert 0.25 == waits[0].after_seconds


async def test_a_cache_that_lags_behind_does_not_move_the_times_of_conditions(desk: Desk) -> None:
    desk.models.put(TINY)
    await desk.until_ready()
    ready = find_condition(desk.models.written[-1].conditions, "Ready")
    desk.clock.advance(60)
    desk.models.put(TINY, generation=2, storage={"subPath": "default/tiny"})
    status = await desk.reconcile()
    now = find_condition(status.conditions, "Ready")
    assert ready is not None
    assert now is not None
    assert (ready.last_transition_time, 2) == (now.last_transition_time, now.observed_generation)


async def test_a_changed_spec_is_loaded_again(desk: Desk) -> None:
    desk.models.put(TINY)
    await desk.until_ready()
    desk.models.put(TINY, generation=2, model="acme/bigger")
    desk.storage.stored["default/tiny"] = Stored(Content.INCOMPLETE)
    status = await desk.reconcile()
    assert ("load", "default/tiny", "acme/bigger", "") == desk.storage.steps[-1]
    assert (ModelPhase.MODEL_LOADING, 2, False) == (status.phase, status.observed_generation, desk.bus.ready[TINY])


async def test_storage_that_cannot_be_made_is_said_and_tried_again(desk: Desk) -> None:
    desk.models.put(TINY)
    desk.storage.fault = "read-only file system"
    status = await desk.reconcile()
    condition = find_condition(status.conditions, "StorageCreated")
    assert condition is not None
    assert ("BoundFailed", "read-only file system") == (condition.reason, condition.message)
    desk.storage.fault = None
    await desk.until_ready()


async def test_a_download_that_nobody_wants_any_more_is_ended(desk: Desk) -> None:
    desk.models.put(TINY)
    await desk.until_loading()
    desk.storage.stored["elsewhere"] = COMPLETE
    desk.models.put(TINY, generation=2, storage={"subPath": "elsewhere"})
    await desk.reconcile()
    assert ("stop", "default/tiny") in desk.storage.steps
    assert ModelPhase.READY is desk.manager.statuses()[TINY].phase


async def test_a_download_that_a_neighbour_wants_goes_on(desk: Desk) -> None:
    for key in (TINY, OTHER):
        desk.models.put(key, storage={"subPath": "shared"})
        await desk.until_loading(key)
    desk.models.put(OTHER, generation=2)
    await desk.reconcile(OTHER)
    assert ("stop", "shared") not in desk.storage.steps


# --- secrets

WITH_SECRET = {"huggingface": {"tokenSecretRef": {"name": "hf"}}}
SECRET = Key("default", "hf")


async def test_a_model_waits_for_its_secret_and_uses_it_when_it_comes(desk: Desk) -> None:
    desk.models.put(TINY, source=WITH_SECRET)
    await desk.until_loading()
    assert ModelPhase.FAILED is desk.manager.statuses()[TINY].phase
    assert "Secret default/hf, which" in desk.manager.statuses()[TINY].conditions[-1].message
    desk.secrets.values[SECRET] = {"OTHER": b"x"}
    assert "no value under HF_TOKEN" in (await desk.reconcile()).conditions[-1].message
    desk.secrets.values[SECRET] = {"HF_TOKEN": b"hf_right\n"}
    await desk.reconcile()
    assert ("load", "default/tiny", "acme/tiny", "hf_right") == desk.storage.steps[-1]


async def test_a_refused_token_is_not_tried_again_but_a_new_one_is_at_once(desk: Desk) -> None:
    desk.secrets.values[SECRET] = {"HF_TOKEN": b"hf_wrong"}
    desk.models.put(TINY, source=WITH_SECRET)
    await desk.until_loading()
    desk.storage.fail("default/tiny", FailureKind.DENIED, desk.clock.now())
    assert ModelPhase.FAILED is (await desk.reconcile()).phase
    desk.secrets.values[SECRET] = {"HF_TOKEN": b"hf_right"}
    assert ModelPhase.MODEL_LOADING is (await desk.reconcile()).phase
    assert "hf_right" == desk.storage.steps[-1][-1]


async def test_models_that_share_a_place_with_two_refused_tokens_do_not_take_turns_for_ever(desk: Desk) -> None:
    desk.secrets.values |= {SECRET: {"HF_TOKEN": b"one"}, Key("default", "hf2"): {"HF_TOKEN": b"two"}}
    shared = {"subPath": "shared"}
    desk.models.put(TINY, source=WITH_SECRET, storage=shared)
    desk.models.put(OTHER, source={"huggingface": {"tokenSecretRef": {"name": "hf2"}}}, storage=shared)
    for _ in range(5):
        for key in (TINY, OTHER):
            await desk.reconcile(key)
            if "shared" in desk.storage.loading:
                desk.storage.fail("shared", FailureKind.DENIED, desk.clock.now())
    assert ["two", "one"] == [step[-1] for step in desk.storage.steps if step[0] == "load"]


# --- sharing


async def test_models_with_the_same_sub_path_load_once_and_are_both_ready(desk: Desk) -> None:
    for key in (TINY, OTHER):
        desk.models.put(key, storage={"subPath": "shared"})
    await desk.until_loading()
    await desk.reconcile(OTHER)
    assert [TINY, OTHER] == desk.manager.of_place("shared")
    desk.storage.finish("shared")
    for key in (TINY, OTHER):
        assert ModelPhase.READY is (await desk.reconcile(key)).phase
    assert 1 == sum(step[0] == "load" for step in desk.storage.steps)


async def test_a_younger_model_that_wants_other_weights_waits_until_the_place_is_free(desk: Desk) -> None:
    desk.models.put(TINY, storage={"subPath": "shared"})
    desk.models.put(OTHER, created_hour=1, model="acme/other", storage={"subPath": "shared"})
    await desk.until_ready(place="shared")
    status = await desk.reconcile(OTHER)
    assert (ModelPhase.FAILED, "CreateFailed") == (status.phase, status.conditions[0].reason)
    desk.woken.clear()
    desk.models.put(TINY, deleted=True, storage={"subPath": "shared"})
    await desk.manager.reconcile(TINY)
    assert [OTHER] == desk.woken
    desk.storage.stored["shared"] = Stored(Content.INCOMPLETE)
    assert ModelPhase.MODEL_LOADING is (await desk.reconcile(OTHER)).phase


# --- the end


async def test_a_deleted_model_takes_its_fact_its_download_and_its_files_with_it(desk: Desk) -> None:
    desk.models.put(TINY)
    await desk.until_ready()
    desk.models.put(TINY, deleted=True)
    await desk.manager.reconcile(TINY)
    assert [("stop", "default/tiny"), ("remove", "default/tiny")] == desk.storage.steps[-2:]
    assert (("tiny", "deleted"), "files in default/tiny removed") == (desk.bus.events[-1], desk.bus.messages[-1])
    assert TINY not in desk.bus.ready
    await desk.manager.reconcile(TINY)
    assert {} == desk.manager.statuses()


async def test_files_that_another_model_uses_are_kept(desk: Desk) -> None:
    desk.models.put(TINY, storage={"subPath": "shared"})
    desk.models.put(OTHER, storage={"subPath": "shared"})
    await desk.until_ready(place="shared")
    desk.models.put(TINY, deleted=True, storage={"subPath": "shared"})
    await desk.manager.reconcile(TINY)
    assert "files kept: default/other uses them too" == desk.bus.messages[-1]
    assert "shared" in desk.storage.stored


async def test_a_local_file_is_never_removed(desk: Desk) -> None:
    desk.storage.stored["default/tiny"] = COMPLETE
    desk.models.put(TINY, source={"file": {"path": "/data/x.gguf"}})
    await desk.reconcile()
    desk.models.put(TINY, deleted=True, source={"file": {"path": "/data/x.gguf"}})
    await desk.manager.reconcile(TINY)
    assert "/data/x.gguf kept: it was used in place" == desk.bus.messages[-1]


# --- where downloads get the token without us


async def test_a_secret_that_is_not_ours_to_read_stands_in_nobodys_way(clock: FakeClock) -> None:
    desk = Desk(clock, reads_secrets=False)
    desk.models.put(TINY, source={"huggingface": {"tokenSecretRef": "hub"}})
    await desk.until_loading()
    assert ("load", "default/tiny", "acme/tiny", "") == desk.storage.steps[-1]
    desk.storage.fail("default/tiny", FailureKind.DENIED, desk.clock.now())
    steps = len(desk.storage.steps)
    assert ModelPhase.FAILED is (await desk.reconcile()).phase
    assert steps == len(desk.storage.steps)


async def test_an_order_that_is_refused_is_failed_with_the_reason_and_tried_again(desk: Desk) -> None:
    desk.models.put(TINY)
    desk.storage.refusal = "resources.requests: quantities must match"
    await desk.until_loading()
    status = desk.manager.statuses()[TINY]
    ready = find_condition(status.conditions, "Ready")
    assert ready is not None
    assert (ModelPhase.FAILED, desk.storage.refusal) == (status.phase, ready.message)
    desk.storage.refusal = None
    assert ModelPhase.MODEL_LOADING is (await desk.reconcile()).phase


# --- the start


@pytest.mark.parametrize("keys", [[], [TINY], [TINY, OTHER]])
async def test_facts_are_complete_when_every_model_of_the_start_was_looked_at(desk: Desk, keys: list[Key]) -> None:
    for key in keys:
        desk.models.put(key)
    announcing = asyncio.create_task(desk.manager.announce_complete())
    for key in keys:
        await asyncio.sleep(0)
        assert not desk.bus.completed.is_set()
        await desk.reconcile(key)
    await asyncio.wait_for(desk.bus.completed.wait(), 30)
    announcing.cancel()
