"""What every adapter of the port Workloads must do: one suite, run on each.

Subclass WorkloadsContract in a test module and give a fixture `rig`.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from arks.app_deployer.domain.workload import Change, Observed, Replica, ReplicaState, ReplicaVerb, Workload
from arks.app_deployer.service.applications import Workloads
from arks.contracts.resources import ArksApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.reconcile import Key
from arks.kit.testing.wait import eventually

KEY = Key("default", "app")
READY = ReplicaState.READY


class Rig(Protocol):
    workloads: Workloads

    def spec(self, version: int) -> dict[str, Any]:
        """Fields of a spec that runs here; another version is another engine."""

    def model(self) -> ModelFact: ...

    async def end(self, replica: Replica) -> None:
        """The replica's engine ends, without anybody having asked for it."""

    def traces(self) -> Sequence[object]:
        """Processes or objects that exist for workloads."""


def _workload(rig: Rig, replicas: int, version: int = 1, *, may_start: bool = True) -> Workload:
    spec = {"replicas": replicas, "model": {"name": "model"}, "instanceSpec": {}} | rig.spec(version)
    metadata = {"name": KEY.name, "namespace": KEY.namespace, "generation": version, "uid": "1"}
    application = ArksApplication.from_dict(
        {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": spec}
    )
    return Workload(application, rig.model() if may_start else None)


def _states(observed: Observed) -> list[ReplicaState]:
    return [replica.state for replica in observed.replicas]


async def _reach(rig: Rig, workload: Workload) -> Observed:
    """Apply until everything wanted is ready and nothing else is there."""

    async def reached() -> Observed | None:
        observed = await rig.workloads.apply(workload)
        whole = _states(observed) == [READY] * workload.application.spec.replicas
        return observed if whole and all(one.updated for one in observed.replicas) else None

    found = await eventually(reached, within_seconds=60, what="all wanted replicas ready")
    assert found is not None
    return found


async def _removed(rig: Rig) -> bool:
    left = await rig.workloads.remove(KEY, 0.5)
    return not (left.replicas or left.leaving)


class WorkloadsContract:
    async def test_nothing_is_seen_of_what_was_never_applied(self, rig: Rig) -> None:
        assert Observed() == rig.workloads.observe(KEY)
        assert set() == rig.workloads.keys()

    async def test_what_is_wanted_becomes_ready_and_has_an_address(self, rig: Rig) -> None:
        observed = await _reach(rig, _workload(rig, 2))
        assert len({(one.name, one.host, one.port) for one in observed.replicas}) == 2
        assert all(one.port > 0 and one.host for one in observed.replicas)
        assert observed == rig.workloads.observe(KEY)
        assert {KEY} == rig.workloads.keys()

    async def test_replicas_tell_of_their_start_and_readiness(self, rig: Rig) -> None:
        changes: list[Change] = []
        rig.workloads.subscribe(changes.append)
        observed = await _reach(rig, _workload(rig, 1))
        told = [change.verb for change in changes if change.replica == observed.replicas[0].name]
        assert told == [ReplicaVerb.STARTED, ReplicaVerb.READY]

    async def test_applying_again_changes_nothing(self, rig: Rig) -> None:
        first = await _reach(rig, _workload(rig, 1))
        assert first == await rig.workloads.apply(_workload(rig, 1))

    async def test_without_leave_to_start_nothing_starts_and_what_runs_goes_on(self, rig: Rig) -> None:
        assert (await rig.workloads.apply(_workload(rig, 1, may_start=False))).replicas == ()
        before = await _reach(rig, _workload(rig, 1))
        assert before.replicas == (await rig.workloads.apply(_workload(rig, 2, version=2, may_start=False))).replicas

    async def test_fewer_wanted_replicas_end_the_others_for_good(self, rig: Rig) -> None:
        await _reach(rig, _workload(rig, 2))
        left = await _reach(rig, _workload(rig, 1))
        assert len(left.replicas) == 1
        await _reach(rig, _workload(rig, 0))
        await eventually(lambda: not rig.traces(), what="nothing left")

    async def test_a_replica_that_ends_is_not_ready_at_once_and_comes_back(self, rig: Rig) -> None:
        changes: list[Change] = []
        before = await _reach(rig, _workload(rig, 1))
        rig.workloads.subscribe(changes.append)
        await rig.end(before.replicas[0])
        await eventually(lambda: READY not in _states(rig.workloads.observe(KEY)), what="not ready")
        await eventually(lambda: ReplicaVerb.EXITED in [change.verb for change in changes], what="the end told")
        after = await _reach(rig, _workload(rig, 1))
        assert after.replicas[0].restarts == 1

    async def test_another_spec_replaces_every_replica(self, rig: Rig) -> None:
        before = await _reach(rig, _workload(rig, 2))
        after = await _reach(rig, _workload(rig, 2, version=2))
        assert set(before.replicas).isdisjoint(after.replicas)

    async def test_removal_leaves_nothing_and_may_be_repeated(self, rig: Rig) -> None:
        await _reach(rig, _workload(rig, 2))
        await eventually(lambda: _removed(rig), what="removed")
        assert set() == rig.workloads.keys()
        await eventually(lambda: not rig.traces(), what="nothing left")
        assert await _removed(rig)
