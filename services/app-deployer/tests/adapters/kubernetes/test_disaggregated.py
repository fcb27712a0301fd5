"""Disaggregated applications on a real API server, with LeaderWorkerSet's controller and kubelet played."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.kubernetes.children import DEPLOYMENT, LEADER_WORKER_SET, SERVICE
from arks.app_deployer.adapters.kubernetes.pods import POD
from arks.app_deployer.adapters.kubernetes.wiring import kubernetes_parts
from arks.app_deployer.config import Settings
from arks.app_deployer.domain.disaggregated import Seen
from arks.app_deployer.domain.workload import ReplicaState
from arks.app_deployer.testing.api_server import lws_api_server
from arks.app_deployer.testing.fake_cluster import Cluster, running
from arks.contracts.resources import ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.clock import SystemClock
from arks.kit.kube.api import Json, Kind, KubeApi
from arks.kit.reconcile import Key
from arks.kit.testing.kubernetes import ApiServer
from arks.kit.testing.wait import eventually

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
KEY = Key("default", "pd")
MODEL = ModelFact(namespace="default", name="m", ready=True, path="/models/models/default/m")
READY = ReplicaState.READY
_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with lws_api_server(tmp_path_factory.mktemp("kube")) as server:
        yield server


class Rig:
    def __init__(self, api: KubeApi) -> None:
        self.api = api
        self.cluster = Cluster(api)
        self.parts = kubernetes_parts(Settings(), api, SystemClock(), CollectorRegistry())
        self.stages = self.parts.stages
        self._tasks: list[asyncio.Future[None]] = []

    async def open(self) -> None:
        await self.cluster.start()
        self._tasks = [asyncio.ensure_future(run()) for run in self.parts.runs]
        for start in self.parts.starts:
            await start()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.cluster.close()

    async def router_pod(self) -> None:
        """What the Deployment's controllers and kubelet would make of it."""
        found = await self.api.get(DEPLOYMENT, Key("default", "pd-router"))
        assert found is not None
        template = found["spec"]["template"]
        body: Json = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": template["metadata"] | {"name": "pd-router-7d-x", "namespace": "default"},
            "spec": {**template["spec"], "nodeName": "node"},
        }
        made = await self.api.create(POD, body)
        status = running(made, ready=True, ip="10.2.0.1")
        await self.api.merge(POD, Key("default", "pd-router-7d-x"), {"status": status}, subresource="status")

    async def until(self, states: dict[str, list[ReplicaState]]) -> Seen:
        def reached() -> Seen | None:
            seen = self.stages.observe(KEY)
            found = {name: [one.state for one in part.replicas] for name, part in seen.parts.items()}
            return seen if found == states else None

        seen = await eventually(reached, what=str(states))
        assert seen is not None
        return seen


@pytest_asyncio.fixture(loop_scope="module")
async def rig(server: ApiServer) -> AsyncIterator[Rig]:
    api = KubeApi("arks-app-deployer", CollectorRegistry(), server.kubeconfig)
    await api.start()
    rig = Rig(api)
    await rig.open()
    yield rig
    await rig.close()
    await api.stop()


def app(**spec: Any) -> ArksDisaggregatedApplication:
    fields = {"model": {"name": "m"}, "router": {"int32": 9000}, "prefill": {"size": 2}, "decode": {"replicas": 2}}
    metadata = {"name": "pd", "uid": "1"}
    manifest = {"kind": "ArksDisaggregatedApplication", "metadata": metadata, "spec": fields | spec}
    return ArksDisaggregatedApplication.from_dict({"apiVersion": "arks.ai/v1"} | manifest)


async def test_from_nothing_to_serving_to_nothing(rig: Rig) -> None:
    assert Seen() == await rig.stages.apply(app(), None)
    await rig.stages.apply(app(), MODEL)
    await rig.router_pod()
    seen = await rig.until({"router": [READY], "prefill": [READY], "decode": [READY, READY]})
    assert seen.serving
    assert [("10.2.0.1", 9000)] == [(one.host, one.port) for one in seen.router.replicas]
    assert ["pd-prefill-0"] == [one.name for one in seen.prefill.replicas]
    assert all(one.updated for part in seen.parts.values() for one in part.replicas)
    assert {KEY} == rig.stages.keys()
    assert set() == rig.parts.workloads.keys()
    assert await rig.api.get(_ACCOUNT, Key("default", "pd-router")) is not None
    service = await rig.api.get(SERVICE, Key("default", "arks-application-pd"))
    assert service is not None and 9000 == service["spec"]["ports"][0]["port"]

    await rig.stages.apply(app(decode={"replicas": 1}), MODEL)
    await rig.until({"router": [READY], "prefill": [READY], "decode": [READY]})

    async def gone() -> bool:
        return not (await rig.stages.remove(KEY)).leaving

    assert not await gone()
    await rig.api.delete(POD, Key("default", "pd-router-7d-x"), grace_seconds=0)  # as the Deployment's controllers do
    await eventually(gone, what="nothing left")
    assert set() == rig.stages.keys()
    for name in ("pd-prefill", "pd-decode"):
        assert await rig.api.get(LEADER_WORKER_SET, Key("default", name)) is None
