"""The use cases with everything around them played by fakes."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from arks.app_deployer.adapters.announcer import Application
from arks.app_deployer.adapters.local.disaggregated import NoStages
from arks.app_deployer.domain.facts import Happened, Status
from arks.app_deployer.domain.workload import Change, Observed, Refusal, Replica, ReplicaState, ReplicaVerb, Workload
from arks.app_deployer.service.applications import AppDeployer
from arks.app_deployer.service.controller import FINALIZER, ModelViews
from arks.app_deployer.service.disaggregated import DisaggregatedDeployer
from arks.app_deployer.service.triggers import Watch
from arks.contracts.resources import ApplicationPhase, ArksApplication, ArksApplicationStatus
from arks.contracts.resources.meta import Resource
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact
from arks.kit.cache import Cache
from arks.kit.reconcile import Key, Requeue
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.wait import eventually

KEY, MODEL = Key("default", "app"), Key("default", "m")
READY = Replica("app-0", ReplicaState.READY, "127.0.0.1", 9000)


class FakeResources:
    """What app-deployer writes shows in the cache, as from the server."""

    def __init__(self) -> None:
        self.cache: Cache[Any] = Cache()
        self.writes: list[BaseModel] = []

    def put(self, resource: Resource) -> None:
        self.cache.apply(Key(resource.namespace, resource.name), resource)

    def current(self, key: Key) -> Any:
        return self.cache.get(key)

    async def patch_status(self, key: Key, status: BaseModel) -> None:
        self.writes.append(status)
        self.put(self.current(key).model_copy(update={"status": status}))

    async def add_finalizer(self, key: Key, finalizer: str) -> None:
        self._finalizers(key, [finalizer])

    async def remove_finalizer(self, key: Key, finalizer: str) -> None:
        self.cache.apply(key, None)

    def _finalizers(self, key: Key, finalizers: list[str]) -> None:
        found = self.current(key)
        metadata = found.metadata.model_copy(update={"finalizers": finalizers})
        self.put(found.model_copy(update={"metadata": metadata}))


class FakeWorkloads:
    def __init__(self) -> None:
        self.observed = Observed()
        self.applied: list[Workload] = []
        self.removed: list[tuple[Key, float]] = []
        self.refusal: Refusal | None = None
        self.listeners: list[Callable[[Change], None]] = []
        self.existing: set[Key] = set()

    def problem(self, _: ArksApplication) -> Refusal | None:
        return self.refusal

    async def apply(self, workload: Workload) -> Observed:
        self.applied.append(workload)
        return self.observed

    def observe(self, _: Key) -> Observed:
        return self.observed

    async def remove(self, key: Key, grace_seconds: float) -> Observed:
        self.removed.append((key, grace_seconds))
        self.existing.discard(key)
        return self.observed

    def keys(self) -> set[Key]:
        return self.existing

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        self.listeners.append(listener)


class FakeAnnouncer:
    def __init__(self) -> None:
        self.facts: dict[Key, ReplicasFact] = {}
        self.verbs: list[str] = []
        self.completed = 0

    def fact(self, key: Key, fact: ReplicasFact) -> None:
        self.facts[key] = fact

    def fact_gone(self, key: Key) -> None:
        self.facts.pop(key, None)

    def complete(self) -> None:
        self.completed += 1

    def event(self, _: Application, __: Status | None, what: Happened) -> None:
        self.verbs.append(what.verb)

    def replica_event(self, _: ArksApplication, change: Change, __: Observed) -> None:
        self.verbs.append(str(change.verb))


class Rig:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.applications, self.disaggregated = FakeResources(), FakeResources()
        self.models: Cache[ModelFact] = Cache()
        self.workloads, self.announcer = FakeWorkloads(), FakeAnnouncer()
        self.deployer = self.again()

    def again(self) -> AppDeployer:
        """app-deployer, newly started."""
        self.deployer = AppDeployer(
            applications=self.applications,
            models=ModelViews(self.models, self.clock),
            workloads=self.workloads,
            announcer=self.announcer,
            clock=self.clock,
            grace_seconds=30.0,
        )
        return self.deployer

    def apply(self, replicas: int = 1, uid: str = "1", deleted: bool = False, **instance: Any) -> None:
        metadata: dict[str, Any] = {"name": "app", "uid": uid, "generation": 1}
        if deleted:
            metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]}
        spec = {"replicas": replicas, "runtime": "llamacpp", "model": {"name": "m"}, "instanceSpec": instance}
        resource = ArksApplication.from_dict(
            {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": spec}
        )
        before = self.applications.cache.get(KEY)
        status = before.status if before and before.metadata.uid == uid else None
        self.applications.put(resource.model_copy(update={"status": status}))

    def model(self) -> None:
        self.models.apply(MODEL, ModelFact(namespace="default", name="m", ready=True, path="/m", generation=1))

    @property
    def status(self) -> ArksApplicationStatus:
        status: ArksApplicationStatus = self.applications.current(KEY).status
        return status


@pytest.fixture
def rig(clock: FakeClock) -> Rig:
    return Rig(clock)


async def test_an_application_with_its_model_is_applied_and_reported(rig: Rig) -> None:
    rig.apply()
    rig.model()
    assert await rig.deployer.reconcile(KEY) is None
    assert ["/m"] == [one.model.path for one in rig.workloads.applied if one.model]
    assert [FINALIZER] == rig.applications.current(KEY).metadata.finalizers
    assert ApplicationPhase.CREATING is rig.status.phase
    assert 1 == rig.announcer.facts[KEY].desired


async def test_nothing_may_start_without_the_model_and_its_absence_is_looked_at_again(rig: Rig) -> None:
    rig.apply()
    assert Requeue(5.0) == await rig.deployer.reconcile(KEY)
    assert rig.workloads.applied[0].model is None
    rig.clock.advance(5.0)
    assert await rig.deployer.reconcile(KEY) is None
    assert ApplicationPhase.FAILED is rig.status.phase


async def test_nothing_may_start_on_a_machine_that_cannot_run_it(rig: Rig) -> None:
    rig.apply()
    rig.model()
    rig.workloads.refusal = Refusal("RuntimeNotSupport", "no GPU")
    await rig.deployer.reconcile(KEY)
    assert rig.workloads.applied[0].model is None
    assert ApplicationPhase.FAILED is rig.status.phase


async def test_what_waits_is_looked_at_again_in_time(rig: Rig) -> None:
    rig.apply()
    rig.model()
    rig.workloads.observed = Observed(again_seconds=0.4)
    assert Requeue(0.4) == await rig.deployer.reconcile(KEY)


async def test_an_unchanged_status_is_not_written_again_also_after_a_restart(rig: Rig) -> None:
    rig.apply()
    rig.model()
    for _ in range(2):
        await rig.deployer.reconcile(KEY)
        rig.clock.advance(60)
    await rig.again().reconcile(KEY)
    assert 1 == len(rig.applications.writes)


async def test_events_tell_a_life_once_however_often_it_is_looked_at(rig: Rig) -> None:
    rig.apply()
    rig.model()
    await rig.deployer.reconcile(KEY)
    rig.workloads.observed = Observed((READY,))
    await rig.deployer.reconcile(KEY)
    await rig.again().reconcile(KEY)
    rig.apply(replicas=2)
    await rig.deployer.reconcile(KEY)
    await rig.deployer.reconcile(KEY)
    assert ["created", "running", "scaled"] == rig.announcer.verbs


async def test_one_deleted_and_made_again_at_once_is_another_one(rig: Rig) -> None:
    rig.apply()
    rig.model()
    await rig.deployer.reconcile(KEY)
    rig.apply(replicas=3, uid="2")
    await rig.deployer.reconcile(KEY)
    assert ["created", "created"] == rig.announcer.verbs


async def test_deletion_waits_for_the_engines_and_tells_neighbours_meanwhile(rig: Rig) -> None:
    rig.apply(deleted=True, terminationGracePeriodSeconds=7)
    rig.workloads.observed = Observed((replace(READY, state=ReplicaState.DRAINING),))
    await rig.deployer.reconcile(KEY)
    assert [(KEY, 7.0)] == rig.workloads.removed
    assert (0, 1) == (rig.announcer.facts[KEY].desired, len(rig.announcer.facts[KEY].replicas))
    rig.workloads.observed = Observed()
    await rig.deployer.reconcile(KEY)
    assert rig.applications.cache.get(KEY) is None
    assert {} == rig.announcer.facts
    assert ["deleted"] == rig.announcer.verbs


async def test_what_nobody_wants_is_removed(rig: Rig) -> None:
    rig.workloads.existing = {KEY}
    assert {KEY} == rig.deployer.strays()
    await rig.deployer.reconcile(KEY)
    assert [(KEY, 30.0)] == rig.workloads.removed


async def test_a_change_reaches_neighbours_before_anything_is_awaited(rig: Rig) -> None:
    rig.apply()
    rig.workloads.observed = Observed((replace(READY, state=ReplicaState.BACK_OFF),))
    rig.deployer.on_change(Change("default", "app", "app-0", ReplicaVerb.EXITED))
    assert 1 == len(rig.announcer.facts[KEY].replicas)
    assert ["replica-exited"] == rig.announcer.verbs


async def test_changes_of_something_unknown_are_nobody_s_business(rig: Rig) -> None:
    rig.deployer.on_change(Change("default", "other", "other-0", ReplicaVerb.EXITED))
    assert ({}, []) == (rig.announcer.facts, rig.announcer.verbs)


async def test_users_of_a_model_are_those_in_its_namespace(rig: Rig) -> None:
    rig.apply()
    assert {KEY} == rig.deployer.users_of(MODEL)
    assert set() == rig.deployer.users_of(Key("other", "m"))


def _watch(rig: Rig, leading: asyncio.Event) -> Watch:
    async def leads() -> None:
        await leading.wait()

    others = DisaggregatedDeployer(
        applications=rig.disaggregated,
        taken=lambda _: False,
        models=ModelViews(rig.models, rig.clock),
        stages=NoStages(),
        announcer=rig.announcer,
        clock=rig.clock,
    )
    rig.disaggregated.cache.synced.set()
    return Watch(
        rig.deployer,
        others,
        applications=rig.applications,
        disaggregated=rig.disaggregated,
        models=rig.models,
        workloads=rig.workloads,
        stages=NoStages(),
        announcer=rig.announcer,
        clock=rig.clock,
        leading=leads,
    )


async def test_neighbours_are_told_that_all_is_said_after_every_application_was_looked_at(rig: Rig) -> None:
    rig.apply()
    rig.model()
    leading = asyncio.Event()
    leading.set()
    watch = _watch(rig, leading)
    stray = Key("default", "stray")
    rig.workloads.existing = {stray}
    tasks = [asyncio.create_task(watch.first_pass())]
    rig.applications.cache.synced.set()
    await asyncio.sleep(0)
    assert 0 == rig.announcer.completed
    tasks += [asyncio.create_task(controller.run()) for controller in watch.controllers]
    await eventually(lambda: rig.announcer.completed == 1, what="complete")
    await eventually(lambda: (stray, 30.0) in rig.workloads.removed, what="the stray removed")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_stands_by_says_nothing_until_it_leads(rig: Rig) -> None:
    rig.apply()
    rig.applications.cache.synced.set()
    rig.workloads.observed = Observed((READY,))
    leading = asyncio.Event()
    watch = _watch(rig, leading)
    task = asyncio.create_task(watch.first_pass())
    (tell,) = rig.workloads.listeners
    tell(Change("default", "app"))
    await asyncio.sleep(0)
    assert {} == rig.announcer.facts
    leading.set()

    def told() -> bool:
        tell(Change("default", "app"))
        return {KEY} == set(rig.announcer.facts)

    await eventually(told, what="the fact")
    assert 0 == rig.announcer.completed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
