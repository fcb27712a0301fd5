"""An application that exists and cannot be read keeps its engines."""

from typing import Any

import pytest

from arks.app_deployer.adapters.announcer import BusAnnouncer
from arks.app_deployer.domain.disaggregated import ObservedDisaggregated
from arks.app_deployer.domain.workload import ObservedReplica, ObservedWorkload
from arks.app_deployer.service.applications import ApplicationController
from arks.app_deployer.service.controller import FINALIZER, BaseController, ModelViews
from arks.app_deployer.service.disaggregated import DisaggregatedController
from arks.app_deployer.service.engine_uses import EngineUses
from arks.app_deployer.service.scaling import Scaling
from arks.app_deployer.testing.fake_reader import FakeReader
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication, InstanceState
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.fakes import FakeFacts, FakePublisher, FakeResources

KEY = Key("default", "app")
RUNNING = ObservedWorkload((ObservedReplica("app-0", InstanceState.READY, "10.0.0.1", 8080),))


class FakeWorkloads:
    """Of both kinds: one replica runs until it is removed twice."""

    def __init__(self, *, disaggregated: bool) -> None:
        self.disaggregated = disaggregated
        self.removals = 0

    def problem(self, _: object) -> None:
        return None

    def subscribe(self, listener: object) -> None:
        pass

    def end_stuck(self, *_: object) -> bool:
        return False

    def unsupported(self, _: ArksApplication) -> tuple[str, ...]:
        return ()

    def dialect(self, _: ArksApplication | ArksDisaggregatedApplication) -> str:
        return ""

    def stage_dialect(self, _: ArksDisaggregatedApplication) -> str:
        return ""

    def keys(self) -> set[Key]:
        return set() if self.removals > 1 else {KEY}

    async def apply(self, *_: Any) -> Any:
        raise AssertionError("nothing is applied of what cannot be read")

    def observe(self, _: Key) -> Any:
        return RUNNING

    async def remove(self, *_: object) -> Any:
        self.removals += 1
        ended = self.removals > 1
        if self.disaggregated:
            return ObservedDisaggregated() if ended else ObservedDisaggregated(decode=RUNNING, terminating=True)
        return ObservedWorkload() if ended else RUNNING


class Subject:
    """One of the two controllers, after a restart: no version of its application was ever read."""

    def __init__(self, clock: FakeClock, *, disaggregated: bool) -> None:
        self.facts = FakeFacts[ReplicasFact](clock)
        self.workloads = FakeWorkloads(disaggregated=disaggregated)
        views, announcer = ModelViews(Cache(), clock), BusAnnouncer(FakePublisher(), self.facts)
        self.resources: FakeResources[Any]
        self.controller: BaseController[Any]
        if disaggregated:
            self.resources = FakeResources[ArksDisaggregatedApplication]()
            self.controller = DisaggregatedController(
                applications=self.resources,
                name_taken=lambda _: False,
                models=views,
                workloads=self.workloads,
                announcer=announcer,
                clock=clock,
                scaling=Scaling(Cache()),
            )
        else:
            self.resources = FakeResources[ArksApplication]()
            self.controller = ApplicationController(
                applications=self.resources,
                models=views,
                workloads=self.workloads,
                announcer=announcer,
                clock=clock,
                grace_seconds=30.0,
                scaling=Scaling(Cache()),
                uses=EngineUses(FakeReader()),
            )


@pytest.fixture(params=[False, True], ids=["application", "disaggregated"])
def subject(request: pytest.FixtureRequest, clock: FakeClock) -> Subject:
    return Subject(clock, disaggregated=request.param)


async def test_its_engines_and_its_fact_stay(subject: Subject) -> None:
    subject.resources.put_unreadable(KEY)
    assert (set(), {KEY}) == (subject.controller.orphans(), subject.controller.all_keys())
    await subject.controller.reconcile(KEY)
    assert (0, True) == (subject.workloads.removals, subject.facts.keeps(KEY))


async def test_its_deletion_ends_its_engines_and_then_the_finalizer(subject: Subject) -> None:
    subject.resources.put_unreadable(KEY)
    await subject.controller.reconcile(KEY)
    subject.resources.put_unreadable(KEY, deleting=True)
    await subject.controller.reconcile(KEY)
    assert (1, []) == (subject.workloads.removals, subject.resources.released)
    await subject.controller.reconcile(KEY)
    assert [(KEY, FINALIZER)] == subject.resources.released
    assert not subject.facts.keeps(KEY)


async def test_what_runs_without_any_resource_is_removed(subject: Subject) -> None:
    assert {KEY} == subject.controller.orphans()
    await subject.controller.reconcile(KEY)
    await subject.controller.reconcile(KEY)
    assert (2, []) == (subject.workloads.removals, subject.resources.released)
