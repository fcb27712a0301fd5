"""What every adapter of the port Workloads must do: one suite, run on each.

Subclass WorkloadsContract in a test module and give a fixture `rig`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from arks.app_deployer.domain.workload import (
    ENGINE_STUCK,
    Change,
    ObservedReplica,
    ObservedWorkload,
    ReplicaVerb,
    Workload,
)
from arks.app_deployer.service.applications import Workloads
from arks.contracts.resources import ArksApplication, InstanceState
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.key import Key
from arks.kit.testing.wait import eventually

KEY = Key("default", "app")
READY = InstanceState.READY
WHY = "it made no step for 600 s"


class Harness(Protocol):
    workloads: Workloads

    def spec(self, version: int) -> dict[str, Any]:
        """Fields of a spec that runs here; another version is another engine."""

    def model(self) -> ModelFact: ...

    async def end(self, replica: ObservedReplica) -> None:
        """End the replica's engine without a request of app-deployer."""

    def traces(self) -> Sequence[object]:
        """Processes or objects that exist for workloads."""


def _workload(harness: Harness, replicas: int, version: int = 1, *, may_start: bool = True) -> Workload:
    spec = {"replicas": replicas, "model": {"name": "model"}, "instanceSpec": {}} | harness.spec(version)
    metadata = {"name": KEY.name, "namespace": KEY.namespace, "generation": version, "uid": "1"}
    application = ArksApplication.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": spec}
    )
    return Workload(application, harness.model() if may_start else None)


def _states(observed: ObservedWorkload) -> list[InstanceState]:
    return [replica.state for replica in observed.replicas]


async def _reach(harness: Harness, workload: Workload) -> ObservedWorkload:
    """Apply until everything wanted is ready and nothing else is there."""

    async def reached() -> ObservedWorkload | None:
        observed = await harness.workloads.apply(workload)
        whole = _states(observed) == [READY] * workload.application.spec.replicas
        return observed if whole and all(replica.updated for replica in observed.replicas) else None

    found = await eventually(reached, within_seconds=60, what="all wanted replicas ready")
    assert found is not None
    return found


async def _removed(harness: Harness) -> bool:
    remaining = await harness.workloads.remove(KEY, 0.5)
    return not (remaining.replicas or remaining.terminating)


class WorkloadsContract:
    async def test_nothing_is_seen_of_what_was_never_applied(self, harness: Harness) -> None:
        assert ObservedWorkload() == harness.workloads.observe(KEY)
        assert set() == harness.workloads.keys()

    async def test_what_is_wanted_becomes_ready_and_has_an_address(self, harness: Harness) -> None:
        observed = await _reach(harness, _workload(harness, 2))
        assert len({(replica.name, replica.host, replica.port) for replica in observed.replicas}) == 2
        assert all(replica.port > 0 and replica.host for replica in observed.replicas)
        assert observed == harness.workloads.observe(KEY)
        assert {KEY} == harness.workloads.keys()

    async def test_start_and_readiness_of_a_replica_are_reported(self, harness: Harness) -> None:
        changes: list[Change] = []
        harness.workloads.subscribe(changes.append)
        observed = await _reach(harness, _workload(harness, 1))
        verbs = [change.verb for change in changes if change.replica == observed.replicas[0].name]
        assert verbs == [ReplicaVerb.STARTED, ReplicaVerb.READY]

    async def test_applying_again_changes_nothing(self, harness: Harness) -> None:
        first = await _reach(harness, _workload(harness, 1))
        assert first == await harness.workloads.apply(_workload(harness, 1))

    async def test_without_a_model_nothing_starts_and_running_replicas_continue(self, harness: Harness) -> None:
        assert (await harness.workloads.apply(_workload(harness, 1, may_start=False))).replicas == ()
        before = await _reach(harness, _workload(harness, 1))
        assert (
            before.replicas
            == (await harness.workloads.apply(_workload(harness, 2, version=2, may_start=False))).replicas
        )

    async def test_fewer_wanted_replicas_end_the_others_for_good(self, harness: Harness) -> None:
        await _reach(harness, _workload(harness, 2))
        remaining = await _reach(harness, _workload(harness, 1))
        assert len(remaining.replicas) == 1
        await _reach(harness, _workload(harness, 0))
        await eventually(lambda: not harness.traces(), what="nothing left")

    async def test_a_replica_that_ends_is_not_ready_at_once_and_comes_back(self, harness: Harness) -> None:
        changes: list[Change] = []
        before = await _reach(harness, _workload(harness, 1))
        harness.workloads.subscribe(changes.append)
        await harness.end(before.replicas[0])
        await eventually(lambda: READY not in _states(harness.workloads.observe(KEY)), what="not ready")
        await eventually(lambda: ReplicaVerb.EXITED in [change.verb for change in changes], what="the end reported")
        after = await _reach(harness, _workload(harness, 1))
        assert after.replicas[0].restarts == 1

    async def test_a_stuck_engine_is_ended_once_and_comes_back(self, harness: Harness) -> None:
        workload = _workload(harness, 1)
        (before,) = (await _reach(harness, workload)).replicas
        changes: list[Change] = []
        harness.workloads.subscribe(changes.append)
        end = harness.workloads.end_stuck
        assert not end(KEY, before.name, before.port + 1, WHY)
        assert not end(KEY, "none", before.port, WHY)
        assert end(KEY, before.name, before.port, WHY)
        assert not end(KEY, before.name, before.port, WHY)

        def reported() -> list[str]:
            return [change.message for change in changes if change.reason == ENGINE_STUCK]

        await eventually(lambda: reported() or None, what="the stuck engine reported")
        assert WHY in reported()[0]

        async def replaced() -> bool:
            (after,) = (await _reach(harness, workload)).replicas
            return after.restarts > before.restarts

        await eventually(replaced, within_seconds=60, what="another engine")

    async def test_another_spec_replaces_every_replica(self, harness: Harness) -> None:
        before = await _reach(harness, _workload(harness, 2))
        after = await _reach(harness, _workload(harness, 2, version=2))
        assert set(before.replicas).isdisjoint(after.replicas)

    async def test_removal_is_complete_and_repeatable(self, harness: Harness) -> None:
        await _reach(harness, _workload(harness, 2))
        await eventually(lambda: _removed(harness), what="removed")
        assert set() == harness.workloads.keys()
        await eventually(lambda: not harness.traces(), what="nothing left")
        assert await _removed(harness)
