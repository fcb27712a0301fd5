"""The use cases of disaggregated applications with everything around them played by fakes."""

from collections.abc import Callable
from typing import Any

import pytest

from arks.app_deployer.adapters.local.disaggregated import NoStages
from arks.app_deployer.domain.disaggregated import Seen
from arks.app_deployer.domain.facts import Happened
from arks.app_deployer.domain.workload import Observed, Refusal, Replica, ReplicaState
from arks.app_deployer.service.controller import FINALIZER, ModelViews
from arks.app_deployer.service.disaggregated import DisaggregatedDeployer, Stages
from arks.contracts.resources import (
    ApplicationPhase,
    ArksDisaggregatedApplication,
    ArksDisaggregatedApplicationStatus,
)
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact
from arks.kit.cache import Cache
from arks.kit.reconcile import Key, Requeue
from arks.kit.testing.clock import FakeClock

KEY, MODEL = Key("default", "pd"), Key("default", "m")
UP = Observed((Replica("up", ReplicaState.READY, "10.0.0.1", 8080),))


class FakeResources:
    def __init__(self) -> None:
        self.cache: Cache[ArksDisaggregatedApplication] = Cache()
        self.writes: list[Any] = []

    async def patch_status(self, key: Key, status: Any) -> None:
        self.writes.append(status)

    async def add_finalizer(self, key: Key, finalizer: str) -> None:
        self._finalizers(key, [finalizer])

    async def remove_finalizer(self, key: Key, finalizer: str) -> None:
        self.cache.apply(key, None)

    def _finalizers(self, key: Key, finalizers: list[str]) -> None:
        found = self.cache.get(key)
        assert found is not None
        metadata = found.metadata.model_copy(update={"finalizers": finalizers})
        self.cache.apply(key, found.model_copy(update={"metadata": metadata}))


class FakeStages:
    def __init__(self) -> None:
        self.seen = Seen()
        self.applied: list[ModelFact | None] = []
        self.removed: list[Key] = []

    def problem(self, _: ArksDisaggregatedApplication) -> Refusal | None:
        return None

    async def apply(self, _: ArksDisaggregatedApplication, model: ModelFact | None) -> Seen:
        self.applied.append(model)
        return self.seen

    def observe(self, _: Key) -> Seen:
        return self.seen

    async def remove(self, key: Key) -> Seen:
        self.removed.append(key)
        return self.seen

    def keys(self) -> set[Key]:
        return {KEY, Key("default", "stray")}

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        pass


class FakeAnnouncer:
    def __init__(self) -> None:
        self.facts: dict[Key, ReplicasFact] = {}
        self.verbs: list[str] = []

    def fact(self, key: Key, fact: ReplicasFact) -> None:
        self.facts[key] = fact

    def fact_gone(self, key: Key) -> None:
        self.facts.pop(key, None)

    def event(
        self, _: ArksDisaggregatedApplication, __: ArksDisaggregatedApplicationStatus | None, what: Happened
    ) -> None:
        self.verbs.append(what.verb)


class Rig:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.applications, self.stages, self.announcer = FakeResources(), FakeStages(), FakeAnnouncer()
        self.models: Cache[ModelFact] = Cache()
        self.taken = False
        self.deployer = self.make(self.stages)

    def make(self, stages: Stages) -> DisaggregatedDeployer:
        return DisaggregatedDeployer(
            applications=self.applications,
            taken=lambda _: self.taken,
            models=ModelViews(self.models, self.clock),
            stages=stages,
            announcer=self.announcer,
            clock=self.clock,
        )

    def apply(self, **metadata: Any) -> None:
        spec = {"model": {"name": "m"}, "router": {}, "prefill": {}, "decode": {}}
        manifest = {"kind": "ArksDisaggregatedApplication", "metadata": {"name": "pd"} | metadata, "spec": spec}
        found = ArksDisaggregatedApplication.from_dict({"apiVersion": "arks.ai/v1"} | manifest)
        self.applications.cache.apply(KEY, found)

    def model(self) -> None:
        self.models.apply(MODEL, ModelFact(namespace="default", name="m", ready=True, path="/models/m"))


@pytest.fixture
def rig(clock: FakeClock) -> Rig:
    return Rig(clock)


async def test_with_its_model_it_is_applied_and_reported(rig: Rig) -> None:
    rig.apply()
    rig.model()
    rig.stages.seen = Seen(UP, UP, UP)
    assert await rig.deployer.reconcile(KEY) is None
    assert ["/models/m"] == [model.path for model in rig.stages.applied if model]
    assert [ApplicationPhase.RUNNING] == [status.phase for status in rig.applications.writes]
    assert [FINALIZER] == [one for app in rig.applications.cache.values() for one in app.metadata.finalizers]
    assert (["running"], {KEY}) == (rig.announcer.verbs, set(rig.announcer.facts))


async def test_the_same_again_writes_nothing(rig: Rig) -> None:
    rig.apply()
    rig.model()
    for _ in range(3):
        await rig.deployer.reconcile(KEY)
    assert 1 == len(rig.applications.writes)


async def test_the_absence_of_its_model_is_looked_at_again(rig: Rig) -> None:
    rig.apply()
    assert Requeue(5.0) == await rig.deployer.reconcile(KEY)
    assert [None] == rig.stages.applied


async def test_one_machine_says_why_not_once(rig: Rig) -> None:
    rig.apply()
    rig.model()
    deployer = rig.make(NoStages())
    for _ in range(2):
        assert await deployer.reconcile(KEY) is None
    (status,) = rig.applications.writes
    assert ("RuntimeNotSupport", ApplicationPhase.FAILED) == (status.conditions[0].reason, status.phase)


async def test_the_name_of_an_application_is_refused_until_it_is_free(rig: Rig) -> None:
    rig.apply()
    rig.model()
    rig.taken = True
    await rig.deployer.reconcile(KEY)
    assert ("NameTaken", []) == (rig.applications.writes[-1].conditions[0].reason, rig.stages.applied)
    assert {} == rig.announcer.facts
    rig.taken = False
    await rig.deployer.reconcile(KEY)
    assert "PrecheckPass" == rig.applications.writes[-1].conditions[0].reason


async def test_deletion_waits_until_nothing_is_left(rig: Rig) -> None:
    rig.apply(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=[FINALIZER])
    rig.stages.seen = Seen(UP, leaving=True)
    await rig.deployer.reconcile(KEY)
    assert rig.applications.cache.get(KEY) is not None
    assert 0 == rig.announcer.facts[KEY].desired
    rig.stages.seen = Seen()
    await rig.deployer.reconcile(KEY)
    assert rig.applications.cache.get(KEY) is None
    assert ({}, ["deleted"]) == (rig.announcer.facts, rig.announcer.verbs)


async def test_a_change_of_replicas_is_told_at_once(rig: Rig) -> None:
    rig.apply()
    rig.stages.seen = Seen(UP, UP, UP)
    rig.deployer.on_change(KEY)
    assert ["up"] == [one.name for one in rig.announcer.facts[KEY].replicas]


def test_what_nobody_wants_is_a_stray(rig: Rig) -> None:
    rig.apply()
    assert {Key("default", "stray")} == rig.deployer.strays()
