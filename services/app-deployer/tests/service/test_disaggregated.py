"""The use cases of disaggregated applications with everything around them played by fakes."""

from collections.abc import Callable
from typing import Any

import pytest

from arks.app_deployer.adapters.announcer import BusAnnouncer
from arks.app_deployer.domain.disaggregated import ObservedDisaggregated
from arks.app_deployer.domain.workload import ObservedReplica, ObservedWorkload, Refusal
from arks.app_deployer.service.controller import FINALIZER, ModelViews
from arks.app_deployer.service.disaggregated import DisaggregatedController, DisaggregatedWorkloads
from arks.app_deployer.service.scaling import Scaling
from arks.app_deployer.testing.no_disaggregated import NoDisaggregatedWorkloads
from arks.contracts.resources import (
    ApplicationPhase,
    ArksDisaggregatedApplication,
    InstanceState,
)
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact, ScalingFact
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.fakes import FakeFacts, FakePublisher, FakeResources

KEY, MODEL = Key("default", "pd"), Key("default", "m")
UP = ObservedWorkload((ObservedReplica("up", InstanceState.READY, "10.0.0.1", 8080),))


class FakeWorkloads:
    def __init__(self) -> None:
        self.observed = ObservedDisaggregated()
        self.applied: list[ModelFact | None] = []
        self.replicas: list[tuple[int, int]] = []
        self.removed: list[Key] = []

    def problem(self, _: ArksDisaggregatedApplication) -> Refusal | None:
        return None

    def dialect(self, _: ArksDisaggregatedApplication) -> str:
        return ""

    def stage_dialect(self, _: ArksDisaggregatedApplication) -> str:
        return "vllm"

    async def apply(self, found: ArksDisaggregatedApplication, model: ModelFact | None) -> ObservedDisaggregated:
        self.applied.append(model)
        self.replicas.append((found.spec.prefill.replicas, found.spec.decode.replicas))
        return self.observed

    def observe(self, _: Key) -> ObservedDisaggregated:
        return self.observed

    async def remove(self, key: Key) -> ObservedDisaggregated:
        self.removed.append(key)
        return self.observed

    def keys(self) -> set[Key]:
        return {KEY, Key("default", "stray")}

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        pass


class Harness:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.applications, self.workloads = FakeResources[ArksDisaggregatedApplication](), FakeWorkloads()
        self.events, self.facts = FakePublisher(), FakeFacts[ReplicasFact](clock)
        self.models: Cache[ModelFact] = Cache()
        self.scaling: Cache[ScalingFact] = Cache()
        self.name_taken = False
        self.deployer = self.make(self.workloads)

    def make(self, workloads: DisaggregatedWorkloads) -> DisaggregatedController:
        return DisaggregatedController(
            applications=self.applications,
            name_taken=lambda _: self.name_taken,
            models=ModelViews(self.models, self.clock),
            workloads=workloads,
            announcer=BusAnnouncer(self.events, self.facts),
            clock=self.clock,
            scaling=Scaling(self.scaling),
        )

    def apply(self, **metadata: Any) -> None:
        spec = {"model": {"name": "m"}, "router": {}, "prefill": {}, "decode": {}}
        manifest = {"kind": "ArksDisaggregatedApplication", "metadata": {"name": "pd"} | metadata, "spec": spec}
        found = ArksDisaggregatedApplication.from_dict({"apiVersion": "arks.ai/v1"} | manifest)
        self.applications.put(found)

    def model(self) -> None:
        self.models.apply(MODEL, ModelFact(namespace="default", name="m", ready=True, path="/models/m"))


@pytest.fixture
def harness(clock: FakeClock) -> Harness:
    return Harness(clock)


async def test_with_its_model_it_is_applied_and_reported(harness: Harness) -> None:
    harness.apply()
    harness.model()
    harness.workloads.observed = ObservedDisaggregated(UP, UP, UP)
    assert await harness.deployer.reconcile(KEY) is None
    assert ["/models/m"] == [model.path for model in harness.workloads.applied if model]
    assert [ApplicationPhase.RUNNING] == [status.phase for status in harness.applications.statuses]
    assert [FINALIZER] == [item for app in harness.applications.cache.values() for item in app.metadata.finalizers]
    assert (["running"], {KEY}) == (harness.events.verbs, set(harness.facts.facts))


async def test_the_same_again_writes_nothing(harness: Harness) -> None:
    harness.applications.lagging = True
    harness.apply()
    harness.model()
    for _ in range(3):
        await harness.deployer.reconcile(KEY)
    assert 1 == len(harness.applications.statuses)


async def test_the_absence_of_its_model_is_looked_at_again(harness: Harness) -> None:
    harness.apply()
    assert Requeue(5.0) == await harness.deployer.reconcile(KEY)
    assert [None] == harness.workloads.applied


async def test_one_machine_reports_its_refusal_once(harness: Harness) -> None:
    harness.applications.lagging = True
    harness.apply()
    harness.model()
    deployer = harness.make(NoDisaggregatedWorkloads())
    for _ in range(2):
        assert await deployer.reconcile(KEY) is None
    (status,) = harness.applications.statuses
    assert ("RuntimeNotSupport", ApplicationPhase.FAILED) == (status.conditions[0].reason, status.phase)


async def test_the_name_of_an_application_is_refused_until_it_is_free(harness: Harness) -> None:
    harness.apply()
    harness.model()
    harness.name_taken = True
    await harness.deployer.reconcile(KEY)
    assert ("NameTaken", []) == (harness.applications.statuses[-1].conditions[0].reason, harness.workloads.applied)
    assert {} == harness.facts.facts
    harness.name_taken = False
    await harness.deployer.reconcile(KEY)
    assert "PrecheckPass" == harness.applications.statuses[-1].conditions[0].reason


async def test_deletion_waits_until_nothing_remains(harness: Harness) -> None:
    harness.apply(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=[FINALIZER])
    harness.workloads.observed = ObservedDisaggregated(UP, terminating=True)
    await harness.deployer.reconcile(KEY)
    assert harness.applications.cache.get(KEY) is not None
    assert 0 == harness.facts.facts[KEY].desired
    harness.workloads.observed = ObservedDisaggregated()
    await harness.deployer.reconcile(KEY)
    assert harness.applications.cache.get(KEY) is None
    assert ({}, ["deleted"]) == (harness.facts.facts, harness.events.verbs)


async def test_a_change_of_replicas_is_in_the_fact_at_once(harness: Harness) -> None:
    harness.apply()
    harness.workloads.observed = ObservedDisaggregated(UP, UP, UP)
    harness.deployer.on_change(KEY)
    assert ["up"] == [item.name for item in harness.facts.facts[KEY].replicas]


async def test_each_stage_follows_its_autoscaler_instead_of_the_spec(harness: Harness) -> None:
    harness.apply()
    harness.model()
    await harness.deployer.reconcile(KEY)
    for stage, replicas in (("decode", 3), ("prefill", 0)):
        fact = ScalingFact(namespace="default", application="pd", stage=stage, replicas=replicas)
        harness.scaling.apply(Key("default", stage), fact)
    await harness.deployer.reconcile(KEY)
    assert [(1, 1), (0, 3)] == harness.workloads.replicas
    assert {"prefill": 0, "decode": 3} == {item.name: item.desired for item in harness.facts.facts[KEY].stages}
    messages = [item.event.message for item in harness.events.published if item.event.reason == "Scaled"]
    assert ["prefill from 1 to 0 replicas, decode from 1 to 3 replicas"] == messages


async def test_the_fact_has_the_engines_of_each_stage_for_autoscalers(harness: Harness) -> None:
    harness.apply()
    harness.workloads.observed = ObservedDisaggregated(UP, UP, ObservedWorkload())
    harness.deployer.on_change(KEY)
    stages = {item.name: item for item in harness.facts.facts[KEY].stages}
    assert [("vllm", "10.0.0.1", 8080)] == [
        (stages["prefill"].runtime, e.host, e.port) for e in stages["prefill"].replicas
    ]
    assert 0 == len(stages["decode"].replicas)


def test_workloads_without_a_resource_are_orphans(harness: Harness) -> None:
    harness.apply()
    assert {Key("default", "stray")} == harness.deployer.orphans()
