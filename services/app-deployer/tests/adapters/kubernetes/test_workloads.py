"""Workloads on a real API server, with LeaderWorkerSet's controller and kubelet played."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.kubernetes.children import LEADER_WORKER_SET, SERVICE
from arks.app_deployer.adapters.kubernetes.wiring import kubernetes_parts
from arks.app_deployer.adapters.kubernetes.workloads import KubeWorkloads
from arks.app_deployer.config import Settings
from arks.app_deployer.domain.workload import Change, Observed, Replica, ReplicaState, Workload
from arks.app_deployer.testing.api_server import lws_api_server
from arks.app_deployer.testing.fake_cluster import Cluster
from arks.app_deployer.testing.workloads_contract import WorkloadsContract
from arks.contracts.resources import ArksApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.clock import SystemClock
from arks.kit.kube.api import Json, KubeApi
from arks.kit.reconcile import Key
from arks.kit.testing.kubernetes import ApiServer
from arks.kit.testing.wait import eventually

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
KEY = Key("default", "app")
SERVICE_KEY = Key("default", "arks-application-app")
READY = ReplicaState.READY


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with lws_api_server(tmp_path_factory.mktemp("kube")) as server:
        yield server


class KubeRig:
    def __init__(self, api: KubeApi, registry: CollectorRegistry, **settings: Any) -> None:
        self.api = api
        self.registry = registry
        self.cluster = Cluster(api)
        self.settings = Settings(room_seconds=0.5, **settings)
        self.changes: list[Change] = []
        self._tasks: list[asyncio.Future[None]] = []
        self.workloads = self._make()

    def _make(self) -> KubeWorkloads:
        self.parts = kubernetes_parts(self.settings, self.api, SystemClock(), CollectorRegistry())
        assert isinstance(self.parts.workloads, KubeWorkloads)
        return self.parts.workloads

    async def open(self) -> None:
        self._tasks = [asyncio.ensure_future(run()) for run in self.parts.runs]
        self.workloads.subscribe(self.changes.append)
        for start in self.parts.starts:
            await start()

    async def restart(self) -> None:
        await self._stop()
        self.workloads = self._make()
        await self.open()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def close(self) -> None:
        async def gone() -> bool:
            left = await self.workloads.remove(KEY, 0.0)
            return not (left.replicas or left.leaving or self.cluster.pods())

        await eventually(gone, what="nothing left")
        await self._stop()
        await self.cluster.close()

    # --- the contract's

    def spec(self, version: int) -> dict[str, Any]:
        return {"runtime": "llamacpp", "runtimeCommonArgs": ["--parallel", str(version)]}

    def model(self) -> ModelFact:
        return ModelFact(namespace="default", name="model", ready=True, path="/models/models/default/model")

    async def end(self, replica: Replica) -> None:
        await self.cluster.end(replica.name)

    def traces(self) -> Sequence[str]:
        return self.cluster.pods()

    # --- for the tests below

    def wanted(self, replicas: int = 1, **spec: Any) -> Workload:
        fields = {"replicas": replicas, "model": {"name": "model"}, "instanceSpec": {}} | self.spec(1) | spec
        metadata = {"name": "app", "namespace": "default", "uid": "1"}
        manifest = {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": fields}
        return Workload(ArksApplication.from_dict(manifest), self.model())

    async def reach(self, workload: Workload, *states: ReplicaState, settled: bool = True) -> Observed:
        async def reached() -> Observed | None:
            seen = await self.workloads.apply(workload)
            same = [one.state for one in seen.replicas] == list(states)
            return seen if same and (not settled or all(one.updated for one in seen.replicas)) else None

        found = await eventually(reached, within_seconds=90, what=str(states))
        assert found is not None
        return found

    async def leader_worker_set(self) -> Json:
        found = await self.api.get(LEADER_WORKER_SET, KEY)
        assert found is not None
        return found


NO_ROOM = {
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]
}
_NO_IMAGE_STATE = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
NO_IMAGE = {
    "containerStatuses": [
        {"name": "leader", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": _NO_IMAGE_STATE}
    ]
}


@pytest_asyncio.fixture(loop_scope="module")
async def rig(server: ApiServer) -> AsyncIterator[KubeRig]:
    registry = CollectorRegistry()
    api = KubeApi("arks-app-deployer", registry, server.kubeconfig)
    await api.start()
    rig = KubeRig(api, registry)
    await rig.cluster.start()
    await rig.open()
    yield rig
    await rig.close()
    await api.stop()


class TestKubeWorkloads(WorkloadsContract):
    pass


async def test_somebody_serves_while_a_single_replica_is_replaced(rig: KubeRig) -> None:
    await rig.reach(rig.wanted(), READY)
    unserved: list[Observed] = []

    def look(_: Change) -> None:
        if not (seen := rig.workloads.observe(KEY)).of(READY):
            unserved.append(seen)

    rig.workloads.subscribe(look)
    wanted = rig.wanted(runtimeCommonArgs=["--parallel", "2"])

    async def replaced() -> bool:
        seen = await rig.workloads.apply(wanted)
        return [("app-0", READY, True)] == [(one.name, one.state, one.updated) for one in seen.replicas]

    await eventually(replaced, within_seconds=90, what="app-0 replaced and alone")
    assert [] == unserved
    assert 1 == (await rig.leader_worker_set())["spec"]["replicas"]


async def test_where_there_is_no_room_beside_it_a_replica_is_replaced_in_place(rig: KubeRig) -> None:
    await rig.reach(rig.wanted(), READY)
    rig.cluster.fate = lambda pod: NO_ROOM if pod["metadata"]["name"] == "app-1" else None
    after = await rig.reach(rig.wanted(runtimeCommonArgs=["--parallel", "2"]), READY)
    assert ["app-0"] == [one.name for one in after.replicas]
    found = await rig.leader_worker_set()
    marks = found["metadata"]["annotations"]
    assert (1, marks["arks.ai/revision"]) == (found["spec"]["replicas"], marks["arks.ai/rolled-out-in-place"])


async def test_an_image_that_does_not_exist_is_the_replica_s_reason_and_the_old_one_serves_on(rig: KubeRig) -> None:
    await rig.reach(rig.wanted(), READY)
    rig.cluster.fate = lambda _: NO_IMAGE
    wanted = rig.wanted(runtimeImage="nowhere/engine:1")
    seen = await rig.reach(wanted, READY, ReplicaState.FAILED, settled=False)
    assert ("ImagePullBackOff", "not found") == (seen.replicas[1].reason, seen.replicas[1].message)
    rig.cluster.fate = lambda _: None
    await rig.reach(rig.wanted(), READY)


async def test_a_service_that_was_deleted_comes_back(rig: KubeRig) -> None:
    wanted = rig.wanted()
    await rig.reach(wanted, READY)
    told = len(rig.changes)
    await rig.api.delete(SERVICE, SERVICE_KEY)
    await eventually(lambda: len(rig.changes) > told, what="its end noticed")

    async def back() -> Json | None:
        await rig.workloads.apply(wanted)
        return await rig.api.get(SERVICE, SERVICE_KEY)

    found = await eventually(back, what="the service made again")
    assert found is not None
    assert {"arks.ai/application": "app", "arks.ai/work-load-role": "leader"} == found["spec"]["selector"]


async def test_a_set_that_somebody_changed_is_set_right(rig: KubeRig) -> None:
    wanted = rig.wanted()
    await rig.reach(wanted, READY)
    told = len(rig.changes)
    await rig.api.merge(LEADER_WORKER_SET, KEY, {"spec": {"replicas": 0}})
    await eventually(lambda: len(rig.changes) > told, what="the change noticed")

    async def right() -> bool:
        await rig.workloads.apply(wanted)
        return bool(1 == (await rig.leader_worker_set())["spec"]["replicas"])

    await eventually(right, what="its replicas set right")


async def test_what_is_as_wanted_costs_no_request(rig: KubeRig) -> None:
    wanted = rig.wanted()
    await rig.reach(wanted, READY)
    before = (await rig.leader_worker_set())["metadata"]["managedFields"]
    await rig.workloads.apply(wanted)
    requests = _requests(rig)
    for _ in range(5):
        await rig.workloads.apply(wanted)
    assert requests == _requests(rig)
    assert before == (await rig.leader_worker_set())["metadata"]["managedFields"]


def _requests(rig: KubeRig) -> float:
    """Writes to children so far."""
    metrics = rig.registry.collect()
    samples = [one for metric in metrics if metric.name == "arks_kube_requests" for one in metric.samples]
    kinds = {"leaderworkersets", "services"}
    return sum(one.value for one in samples if one.labels.get("resource") in kinds and one.labels["verb"] == "patch")


async def test_an_app_deployer_that_starts_anew_knows_what_runs_and_tells_nothing_twice(rig: KubeRig) -> None:
    wanted = rig.wanted()
    before = await rig.reach(wanted, READY)
    await rig.restart()
    rig.changes.clear()
    assert before == await rig.workloads.apply(wanted)
    assert [] == [change.verb for change in rig.changes if change.verb]


async def test_what_the_api_server_refuses_is_said_and_gone_with_its_cause(rig: KubeRig) -> None:
    bad = rig.wanted(instanceSpec={"priority": 1, "tolerations": [{"key": ["not", "text"]}]})
    seen = await rig.workloads.apply(bad)
    assert seen.refusal is not None
    assert "UnderlayReconcileFailed" == seen.refusal.reason
    assert "tolerations" in seen.refusal.message
    assert (await rig.reach(rig.wanted(), READY)).refusal is None


async def test_a_replica_that_leaves_drains_until_its_pod_is_gone(rig: KubeRig) -> None:
    await rig.reach(rig.wanted(2), READY, READY)
    rig.cluster.drained.clear()
    seen = await rig.reach(rig.wanted(1), READY, ReplicaState.DRAINING)
    assert ["app-0", "app-1"] == [one.name for one in seen.replicas]
    assert seen.replicas[1].host
    rig.cluster.drained.set()
    await rig.reach(rig.wanted(1), READY)


async def test_a_group_of_two_serves_with_its_leader_alone(rig: KubeRig) -> None:
    seen = await rig.reach(rig.wanted(runtime="vllm", runtimeCommonArgs=[], size=2), READY)
    assert ["app-0"] == [one.name for one in seen.replicas]
    await eventually(lambda: rig.cluster.pods() == ["app-0", "app-0-1"], what="leader and worker")
    roles = [rig.cluster.pod(name) for name in rig.cluster.pods()]
    assert ["leader", "worker"] == [pod["metadata"]["labels"]["arks.ai/work-load-role"] for pod in roles if pod]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"runtime": "ark"}, "runtime ark is not supported; use one of vllm, sglang, dynamo, llamacpp"),
        ({"size": 2}, "runtime llamacpp runs on one node: leave size out, or set it to 1"),
        ({}, None),
    ],
)
async def test_what_kubernetes_can_run(rig: KubeRig, fields: dict[str, Any], why: str | None) -> None:
    problem = rig.workloads.problem(rig.wanted(**fields).application)
    assert why == (problem.message if problem else None)
