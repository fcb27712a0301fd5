"""Disaggregated applications on a real API server, with LeaderWorkerSet's controller and kubelet played."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.kubernetes.children import DEPLOYMENT, LEADER_WORKER_SET, SERVICE
from arks.app_deployer.adapters.kubernetes.wiring import kubernetes_parts
from arks.app_deployer.config import Settings
from arks.app_deployer.domain.disaggregated import ObservedDisaggregated
from arks.app_deployer.testing.api_server import lws_api_server
from arks.app_deployer.testing.fake_cluster import Cluster, running
from arks.contracts.resources import ArksDisaggregatedApplication, InstanceState
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.clock import SystemClock
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import POD, Kind
from arks.kit.testing.kubernetes import ApiServer
from arks.kit.testing.wait import eventually
from arks.kit.types import Json

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
KEY = Key("default", "pd")
MODEL = ModelFact(namespace="default", name="m", ready=True, path="/models/models/default/m")
READY = InstanceState.READY
_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with lws_api_server(tmp_path_factory.mktemp("kube")) as server:
        yield server


class Harness:
    def __init__(self, api: KubeApi) -> None:
        self.api = api
        self.cluster = Cluster(api)
        self.parts = kubernetes_parts(Settings(), api, SystemClock(), CollectorRegistry())
        self.workloads = self.parts.disaggregated_workloads
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

    async def until(self, states: dict[str, list[InstanceState]]) -> ObservedDisaggregated:
        def reached() -> ObservedDisaggregated | None:
            observed = self.workloads.observe(KEY)
            found = {name: [item.state for item in part.replicas] for name, part in observed.parts.items()}
            return observed if found == states else None

        observed = await eventually(reached, what=str(states))
        assert observed is not None
        return observed


@pytest_asyncio.fixture(loop_scope="module")
async def harness(server: ApiServer) -> AsyncIterator[Harness]:
    api = KubeApi("arks-app-deployer", CollectorRegistry(), server.kubeconfig)
    await api.start()
    harness = Harness(api)
    await harness.open()
    yield harness
    await harness.close()
    await api.stop()


def app(**spec: Any) -> ArksDisaggregatedApplication:
    fields = {"model": {"name": "m"}, "router": {"int32": 9000}, "prefill": {"size": 2}, "decode": {"replicas": 2}}
    metadata = {"name": "pd", "uid": "1"}
    manifest = {"kind": "ArksDisaggregatedApplication", "metadata": metadata, "spec": fields | spec}
    return ArksDisaggregatedApplication.from_dict({"apiVersion": "arks.ai/v1"} | manifest)


async def test_from_nothing_to_serving_to_nothing(harness: Harness) -> None:
    assert ObservedDisaggregated() == await harness.workloads.apply(app(), None)
    await harness.workloads.apply(app(), MODEL)
    await harness.router_pod()
    observed = await harness.until({"router": [READY], "prefill": [READY], "decode": [READY, READY]})
    assert observed.serving
    assert [("10.2.0.1", 9000)] == [(item.host, item.port) for item in observed.router.replicas]
    assert ["pd-prefill-0"] == [item.name for item in observed.prefill.replicas]
    assert all(item.updated for part in observed.parts.values() for item in part.replicas)
    assert {KEY} == harness.workloads.keys()
    assert set() == harness.parts.workloads.keys()
    assert await harness.api.get(_ACCOUNT, Key("default", "pd-router")) is not None
    service = await harness.api.get(SERVICE, Key("default", "arks-application-pd"))
    assert service is not None and 9000 == service["spec"]["ports"][0]["port"]

    await harness.workloads.apply(app(decode={"replicas": 1}), MODEL)
    await harness.until({"router": [READY], "prefill": [READY], "decode": [READY]})

    async def removed() -> bool:
        return not (await harness.workloads.remove(KEY)).terminating

    assert not await removed()
    await harness.api.delete(
        POD, Key("default", "pd-router-7d-x"), grace_seconds=0
    )  # as the Deployment's controllers do
    await eventually(removed, what="nothing left")
    assert set() == harness.workloads.keys()
    for name in ("pd-prefill", "pd-decode"):
        assert await harness.api.get(LEADER_WORKER_SET, Key("default", name)) is None
