"""The use cases with everything around them played by fakes."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from arks.app_deployer.adapters.announcer import BusAnnouncer
from arks.app_deployer.domain.fit import Hardware
from arks.app_deployer.domain.workload import Change, ObservedReplica, ObservedWorkload, Refusal, ReplicaVerb, Workload
from arks.app_deployer.service.applications import ApplicationController, HardwareOf, unknown_hardware
from arks.app_deployer.service.controller import FINALIZER, ModelViews
from arks.app_deployer.service.disaggregated import DisaggregatedController
from arks.app_deployer.service.engine_uses import EngineUses
from arks.app_deployer.service.scaling import Scaling
from arks.app_deployer.service.triggers import Triggers
from arks.app_deployer.testing.fake_reader import FakeReader
from arks.app_deployer.testing.no_disaggregated import NoDisaggregatedWorkloads
from arks.contracts.resources import (
    ApplicationPhase,
    ArksApplication,
    ArksApplicationStatus,
    ArksDisaggregatedApplication,
    InstanceState,
)
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact, ScalingFact
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.fakes import FakeFacts, FakePublisher, FakeResources
from arks.kit.testing.wait import eventually

KEY, MODEL = Key("default", "app"), Key("default", "m")
READY = ObservedReplica("app-0", InstanceState.READY, "127.0.0.1", 9000)


class FakeWorkloads:
    def __init__(self) -> None:
        self.observed = ObservedWorkload()
        self.applied: list[Workload] = []
        self.removed: list[tuple[Key, float]] = []
        self.refusal: Refusal | None = None
        self.listeners: list[Callable[[Change], None]] = []
        self.existing: set[Key] = set()

    def problem(self, _: ArksApplication) -> Refusal | None:
        return self.refusal

    async def apply(self, workload: Workload) -> ObservedWorkload:
        self.applied.append(workload)
        return self.observed

    def observe(self, _: Key) -> ObservedWorkload:
        return self.observed

    async def remove(self, key: Key, grace_seconds: float) -> ObservedWorkload:
        self.removed.append((key, grace_seconds))
        self.existing.discard(key)
        return self.observed

    def end_stuck(self, key: Key, replica: str, port: int, why: str) -> bool:
        return False

    def unsupported(self, application: ArksApplication) -> tuple[str, ...]:
        return ("echo",)

    def dialect(self, application: ArksApplication) -> str:
        return ""

    def keys(self) -> set[Key]:
        return self.existing

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        self.listeners.append(listener)


class Harness:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.applications, self.disaggregated = (
            FakeResources[ArksApplication](),
            FakeResources[ArksDisaggregatedApplication](),
        )
        self.models: Cache[ModelFact] = Cache()
        self.scaling: Cache[ScalingFact] = Cache()
        self.workloads = FakeWorkloads()
        self.reader = FakeReader()
        self.uses = EngineUses(self.reader, pause_seconds=0.0)
        self.events, self.facts = FakePublisher(), FakeFacts[ReplicasFact](clock)
        self.announcer = BusAnnouncer(self.events, self.facts)
        self.written: list[int] = []
        """Numbers of replicas that were written into the spec."""
        self.hardware: HardwareOf = unknown_hardware
        self.deployer = self.restart()

    def restart(self) -> ApplicationController:
        """app-deployer, newly started."""
        self.deployer = ApplicationController(
            applications=self.applications,
            models=ModelViews(self.models, self.clock),
            workloads=self.workloads,
            announcer=self.announcer,
            clock=self.clock,
            grace_seconds=30.0,
            scaling=Scaling(self.scaling),
            uses=self.uses,
            write_replicas=self._write_replicas,
            hardware=self.hardware,
        )
        return self.deployer

    async def _write_replicas(self, key: Key, replicas: int) -> None:
        self.written.append(replicas)
        self.apply(replicas)

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
        status = self.applications.current(KEY).status
        assert status is not None
        return status


@pytest.fixture
def harness(clock: FakeClock) -> Harness:
    return Harness(clock)


async def test_an_application_with_its_model_is_applied_and_reported(harness: Harness) -> None:
    harness.apply()
    harness.model()
    assert Requeue(1800.0) == await harness.deployer.reconcile(KEY)
    assert ["/m"] == [item.model.path for item in harness.workloads.applied if item.model]
    assert [FINALIZER] == harness.applications.current(KEY).metadata.finalizers
    assert ApplicationPhase.CREATING is harness.status.phase
    assert 1 == harness.facts.facts[KEY].desired


async def test_a_rollout_that_stands_still_is_reported_after_its_deadline(harness: Harness) -> None:
    harness.apply()
    harness.model()
    await harness.deployer.reconcile(KEY)
    harness.clock.advance(1800.0)
    assert await harness.deployer.reconcile(KEY) is None
    condition = harness.status.conditions[-1]
    assert ("Progressing", "False", "DeadlineExceeded") == (condition.type, condition.status, condition.reason)
    assert "0 of 1 replicas run the newest spec and serve; no replica has changed for 1800 s" == condition.message


async def test_nothing_may_start_without_the_model_and_its_absence_is_looked_at_again(harness: Harness) -> None:
    harness.apply()
    assert Requeue(5.0) == await harness.deployer.reconcile(KEY)
    assert harness.workloads.applied[0].model is None
    harness.clock.advance(5.0)
    assert await harness.deployer.reconcile(KEY) is None
    assert ApplicationPhase.FAILED is harness.status.phase


async def test_nothing_may_start_on_a_machine_that_cannot_run_it(harness: Harness) -> None:
    harness.apply()
    harness.model()
    harness.workloads.refusal = Refusal("RuntimeNotSupport", "no GPU")
    await harness.deployer.reconcile(KEY)
    assert harness.workloads.applied[0].model is None
    assert ApplicationPhase.FAILED is harness.status.phase


async def test_what_waits_is_looked_at_again_in_time(harness: Harness) -> None:
    harness.apply()
    harness.model()
    harness.workloads.observed = ObservedWorkload(requeue_seconds=0.4)
    assert Requeue(0.4) == await harness.deployer.reconcile(KEY)


async def test_an_unchanged_status_is_not_written_again_also_after_a_restart(harness: Harness) -> None:
    harness.apply()
    harness.model()
    for _ in range(2):
        await harness.deployer.reconcile(KEY)
        harness.clock.advance(60)
    await harness.restart().reconcile(KEY)
    assert 1 == len(harness.applications.statuses)


async def test_repeated_reconciles_publish_each_event_once(harness: Harness) -> None:
    harness.apply()
    harness.model()
    await harness.deployer.reconcile(KEY)
    harness.workloads.observed = ObservedWorkload((READY,))
    await harness.deployer.reconcile(KEY)
    await harness.restart().reconcile(KEY)
    harness.apply(replicas=2)
    await harness.deployer.reconcile(KEY)
    await harness.deployer.reconcile(KEY)
    assert ["created", "running", "scaled"] == harness.events.verbs


async def test_one_deleted_and_made_again_at_once_is_another_one(harness: Harness) -> None:
    harness.apply()
    harness.model()
    await harness.deployer.reconcile(KEY)
    harness.apply(replicas=3, uid="2")
    await harness.deployer.reconcile(KEY)
    assert ["created", "created"] == harness.events.verbs


async def test_deletion_waits_for_the_engines_and_keeps_the_fact_current(harness: Harness) -> None:
    harness.apply(deleted=True, terminationGracePeriodSeconds=7)
    harness.workloads.observed = ObservedWorkload((replace(READY, state=InstanceState.DRAINING),))
    await harness.deployer.reconcile(KEY)
    assert [(KEY, 7.0)] == harness.workloads.removed
    assert (0, 1) == (harness.facts.facts[KEY].desired, len(harness.facts.facts[KEY].replicas))
    harness.workloads.observed = ObservedWorkload()
    await harness.deployer.reconcile(KEY)
    assert harness.applications.cache.get(KEY) is None
    assert {} == harness.facts.facts
    assert ["deleted"] == harness.events.verbs


async def test_orphans_are_removed(harness: Harness) -> None:
    harness.workloads.existing = {KEY}
    assert {KEY} == harness.deployer.orphans()
    await harness.deployer.reconcile(KEY)
    assert [(KEY, 30.0)] == harness.workloads.removed


async def test_what_a_running_engine_drops_is_in_the_fact_beside_what_its_profile_lists(harness: Harness) -> None:
    harness.apply()
    harness.model()
    harness.workloads.observed = ObservedWorkload((READY,))
    harness.reader.unsupported_by = {READY.port: frozenset({"tools"})}
    running = [asyncio.create_task(harness.uses.run()), asyncio.create_task(_watch(harness).controllers[0].run())]
    await eventually(lambda: KEY in harness.facts.facts, what="the fact")
    await eventually(lambda: ["echo", "tools"] == list(harness.facts.facts[KEY].unsupported), what="what it drops")
    harness.workloads.observed = ObservedWorkload((replace(READY, restarts=1),))
    harness.reader.unsupported_by = {}
    harness.deployer.on_change(Change("default", "app"))
    assert ["echo"] == list(harness.facts.facts[KEY].unsupported)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def test_a_change_reaches_neighbours_before_anything_is_awaited(harness: Harness) -> None:
    harness.apply()
    harness.workloads.observed = ObservedWorkload((replace(READY, state=InstanceState.BACK_OFF),))
    harness.deployer.on_change(Change("default", "app", "app-0", ReplicaVerb.EXITED))
    assert 1 == len(harness.facts.facts[KEY].replicas)
    assert ["replica-exited"] == harness.events.verbs


async def test_changes_of_an_unknown_application_are_ignored(harness: Harness) -> None:
    harness.deployer.on_change(Change("default", "other", "other-0", ReplicaVerb.EXITED))
    assert ({}, []) == (harness.facts.facts, harness.events.verbs)


async def test_users_of_a_model_are_those_in_its_namespace(harness: Harness) -> None:
    harness.apply()
    assert {KEY} == harness.deployer.users_of(MODEL)
    assert set() == harness.deployer.users_of(Key("other", "m"))


def _watch(harness: Harness) -> Triggers:
    others = DisaggregatedController(
        applications=harness.disaggregated,
        name_taken=lambda _: False,
        models=ModelViews(harness.models, harness.clock),
        workloads=NoDisaggregatedWorkloads(),
        announcer=harness.announcer,
        clock=harness.clock,
        scaling=Scaling(harness.scaling),
    )
    return Triggers(
        harness.deployer,
        others,
        applications=harness.applications,
        disaggregated=harness.disaggregated,
        models=harness.models,
        scaling=Scaling(harness.scaling),
        workloads=harness.workloads,
        disaggregated_workloads=NoDisaggregatedWorkloads(),
        uses=harness.uses,
        announcer=harness.announcer,
        clock=harness.clock,
    )


async def test_facts_are_complete_after_every_application_was_reconciled(harness: Harness) -> None:
    harness.apply()
    harness.model()
    watch = _watch(harness)
    stray = Key("default", "stray")
    harness.workloads.existing = {stray}
    applications, disaggregated = watch.controllers
    tasks = [asyncio.create_task(applications.run())]
    await eventually(lambda: applications.passed, what="the first pass of applications")
    assert not harness.facts.completed
    tasks.append(asyncio.create_task(disaggregated.run()))
    await eventually(lambda: harness.facts.completed, what="complete")
    await eventually(lambda: (stray, 30.0) in harness.workloads.removed, what="the stray removed")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_standby_publishes_nothing_until_it_leads(harness: Harness) -> None:
    harness.apply()
    harness.workloads.observed = ObservedWorkload((READY,))
    watch = _watch(harness)
    (notify,) = harness.workloads.listeners
    notify(Change("default", "app"))
    await asyncio.sleep(0)
    assert {} == harness.facts.facts
    task = asyncio.create_task(watch.controllers[0].run())

    def reported() -> bool:
        notify(Change("default", "app"))
        return {KEY} == set(harness.facts.facts)

    await eventually(reported, what="the fact")
    assert not harness.facts.completed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_number_of_an_autoscaler_is_carried_out_and_published(harness: Harness) -> None:
    harness.apply(replicas=1)
    harness.model()
    harness.scaling.apply(Key("default", "chat"), ScalingFact(namespace="default", application="app", replicas=3))
    await harness.deployer.reconcile(KEY)
    assert 3 == harness.workloads.applied[-1].application.spec.replicas
    fact = harness.facts.get(KEY)
    assert fact is not None
    assert 3 == fact.desired


async def test_of_a_horizontal_pod_autoscaler_only_the_step_from_and_to_zero_is_taken(harness: Harness) -> None:
    harness.apply(replicas=3)
    harness.model()
    for wanted in (5, 1, 0, 0, 4):
        fact = ScalingFact(namespace="default", application="app", replicas=wanted, by_horizontal_pod_autoscaler=True)
        harness.scaling.apply(Key("default", "chat"), fact)
        await harness.deployer.reconcile(KEY)
    assert [0, 1] == harness.written
    assert [3, 3, 0, 0, 1] == [workload.application.spec.replicas for workload in harness.workloads.applied]


async def test_the_fact_has_what_keeps_replicas_from_running(harness: Harness) -> None:
    harness.apply(replicas=2)
    harness.model()
    refusal = Refusal("FailedCreate", "exceeded quota: small")
    harness.workloads.observed = ObservedWorkload(harness.workloads.observed.replicas, refusal=refusal)
    await harness.deployer.reconcile(KEY)
    fact = harness.facts.get(KEY)
    assert fact is not None
    assert ("FailedCreate", "exceeded quota: small") == (fact.missing_reason, fact.missing_message)


async def test_a_model_that_does_not_fit_is_a_condition_with_the_next_step_and_starts_all_the_same(
    harness: Harness,
) -> None:
    harness.apply(resources={"limits": {"memory": "1Gi"}})

    async def hardware(_: ArksApplication) -> Hardware:
        return Hardware(memory_bytes=1 << 30)

    harness.hardware = hardware
    harness.restart()
    harness.models.apply(MODEL, ModelFact(name="m", ready=True, path="/m", generation=1, weights_bytes=4 << 30))
    await harness.deployer.reconcile(KEY)
    conditions = {condition.type: condition for condition in harness.status.conditions}
    fits = conditions["Fits"]
    assert ("False", "NotEnoughMemory") == (fits.status, fits.reason)
    assert "raise instanceSpec.resources.limits.memory" in fits.message
    assert fits.message in conditions["Ready"].message
    assert harness.workloads.applied[-1].model is not None
