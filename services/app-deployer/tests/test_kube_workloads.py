"""Workloads on a real API server, with LeaderWorkerSet's controller and kubelet played."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
import yaml
from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.kube.children import LEADER_WORKER_SET
from arks.app_deployer.adapters.kube.platform import kube_platform
from arks.app_deployer.adapters.kube.workloads import KubeWorkloads
from arks.app_deployer.config import Settings
from arks.app_deployer.domain.workload import Change, Observed, Replica, ReplicaState, Workload
from arks.app_deployer.testing.cluster import Cluster
from arks.app_deployer.testing.contract import WorkloadsContract
from arks.contracts.resources import ArksApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.clock import SystemClock
from arks.kit.kube.api import Json, KubeApi
from arks.kit.reconcile import Key
from arks.kit.testing.kubernetes import ApiServer, api_server, kube_binaries
from arks.kit.testing.wait import eventually

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
KEY = Key("default", "app")
SERVICE_KEY = Key("default", "arks-application-app")
READY = ReplicaState.READY
_CRD = "lws-chart/templates/crds/leaderworkerset.x-k8s.io_leaderworkersets.yaml"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with api_server(tmp_path_factory.mktemp("kube")) as server:
        definition = yaml.safe_load((kube_binaries() / _CRD).read_text())
        del definition["spec"]["conversion"]  # by the controller, which is played here
        await server.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(definition))
        await eventually(lambda: _served(server), within_seconds=30, what="LeaderWorkerSets served")
        yield server


async def _served(server: ApiServer) -> bool:
    try:
        await server.kubectl("get", "leaderworkersets")
    except RuntimeError:
        return False
    return True


class KubeRig:
    def __init__(self, api: KubeApi, **settings: Any) -> None:
        self.api = api
        self.cluster = Cluster(api)
        self.settings = Settings(room_seconds=0.5, **settings)
        self.changes: list[Change] = []
        self._tasks: list[asyncio.Future[None]] = []
        self.workloads = self._make()

    def _make(self) -> KubeWorkloads:
        self.platform = kube_platform(self.settings, self.api, SystemClock(), CollectorRegistry())
        assert isinstance(self.platform.workloads, KubeWorkloads)
        return self.platform.workloads

    async def open(self) -> None:
        self._tasks = [asyncio.ensure_future(run()) for run in self.platform.runs]
        self.workloads.subscribe(self.changes.append)
        for start in self.platform.starts:
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

        found = await eventually(reached, within_seconds=30, what=str(states))
        assert found is not None
        return found

    async def leader_worker_set(self) -> Json:
        found = await self.api.get(LEADER_WORKER_SET, KEY)
        assert found is not None
        return found


@pytest_asyncio.fixture(loop_scope="module")
async def rig(server: ApiServer) -> AsyncIterator[KubeRig]:
    api = KubeApi("arks-app-deployer", CollectorRegistry(), server.kubeconfig)
    await api.start()
    rig = KubeRig(api)
    await rig.cluster.start()
    await rig.open()
    yield rig
    await rig.close()
    await api.stop()


class TestKubeWorkloads(WorkloadsContract):
    pass
