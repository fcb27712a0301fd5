"""Disaggregated applications on a real API server, with LeaderWorkerSet's controller and kubelet played."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.kubernetes.children import (
    DEPLOYMENT,
    LEADER_WORKER_SET,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
)
from arks.app_deployer.adapters.kubernetes.wiring import kubernetes_parts
from arks.app_deployer.config import Settings
from arks.app_deployer.domain.disaggregated import ObservedDisaggregated
from arks.app_deployer.domain.workload import Workload
from arks.app_deployer.testing.api_server import lws_api_server
from arks.app_deployer.testing.fake_cluster import Cluster, running
from arks.app_deployer.testing.kube_harness import PLATFORM
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication, InstanceState
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
_LABELS = {"a": "b"}
_TEMPLATE = {"metadata": {"labels": _LABELS}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
ROUTER = Key("default", "pd-router")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with lws_api_server(tmp_path_factory.mktemp("kube")) as server:
        yield server


class Harness:
    def __init__(self, api: KubeApi, kubeconfig: Path) -> None:
        self.api = api
        self.kubeconfig = kubeconfig
        self.cluster = Cluster(api)
        self.parts = kubernetes_parts(Settings(pod_defaults=PLATFORM), api, SystemClock(), CollectorRegistry())
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
        for stop in reversed(self.parts.stops):
            await stop()
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
    harness = Harness(api, server.kubeconfig)
    await harness.open()
    yield harness
    await end(harness)
    await harness.close()
    await api.stop()


def plain(name: str) -> ArksApplication:
    """An application of the other kind, with a name of the first kind's child."""
    metadata = {"name": name, "uid": "2", "namespace": "default"}
    spec = {"replicas": 0, "model": {"name": "m"}, "runtime": "vllm", "instanceSpec": {}}
    manifest = {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": spec}
    return ArksApplication.from_dict(manifest)


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
    assert "" == observed.note
    assert [("10.2.0.1", 9000)] == [(item.host, item.port) for item in observed.router.replicas]
    assert ["pd-prefill-0"] == [item.name for item in observed.prefill.replicas]
    assert all(item.updated for part in observed.parts.values() for item in part.replicas)
    assert {KEY} == harness.workloads.keys()
    pods = [harness.cluster.pod(name) for name in harness.cluster.pods()]
    assert all(pod and PLATFORM.annotations.items() <= pod["metadata"]["annotations"].items() for pod in pods)
    assert set() == harness.parts.workloads.keys()
    assert await harness.api.get(SERVICE_ACCOUNT, ROUTER) is not None
    service = await harness.api.get(SERVICE, Key("default", "arks-application-pd"))
    assert service is not None and 9000 == service["spec"]["ports"][0]["port"]

    refused = await harness.parts.workloads.apply(Workload(plain("pd-decode"), MODEL))
    assert refused.refusal is not None and "NameConflict" == refused.refusal.reason
    assert "belongs to ArksDisaggregatedApplication pd" in refused.refusal.message
    await harness.parts.workloads.apply(Workload(plain("pd-decode"), None))

    async def refused_removed() -> bool:
        return not (await harness.parts.workloads.remove(Key("default", "pd-decode"), 0)).terminating

    await eventually(refused_removed, what="its Service gone, the set of the other kept")
    decode = await harness.api.get(LEADER_WORKER_SET, Key("default", "pd-decode"))
    assert decode is not None and 2 == decode["spec"]["replicas"] and "deletionTimestamp" not in decode["metadata"]

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


@pytest.mark.parametrize("kind", [SERVICE_ACCOUNT, ROLE, ROLE_BINDING, DEPLOYMENT])
async def test_an_object_of_the_tenant_with_a_name_of_the_router_stays(harness: Harness, kind: Kind) -> None:
    metadata = {"name": ROUTER.name, "namespace": "default"}
    more: dict[Kind, Json] = {
        ROLE: {"rules": []},
        ROLE_BINDING: {"roleRef": {"apiGroup": ROLE.group, "kind": "Role", "name": "theirs"}},
        DEPLOYMENT: {"spec": {"selector": {"matchLabels": _LABELS}, "template": _TEMPLATE}},
    }
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **more.get(kind, {})}
    theirs = await harness.api.create(kind, obj)
    observed = await harness.workloads.apply(app(), MODEL)
    assert observed.refusal is not None and "NameConflict" == observed.refusal.reason
    assert f"{kind.kind} pd-router exists and has no owner" in observed.refusal.message
    assert theirs == await harness.api.get(kind, ROUTER)
    await harness.api.delete(kind, ROUTER)
    assert (await harness.workloads.apply(app(), MODEL)).refusal is None


async def test_a_changed_and_a_deleted_object_of_the_router_are_set_back(harness: Harness) -> None:
    await harness.workloads.apply(app(), MODEL)
    role = await harness.api.get(ROLE, ROUTER)
    assert role is not None
    people = KubeApi("people", CollectorRegistry(), harness.kubeconfig)
    await people.start()
    changed = await people.merge(ROLE, ROUTER, {"rules": []})
    await people.delete(SERVICE_ACCOUNT, ROUTER)
    await people.stop()
    assert not changed["rules"]

    async def back() -> bool:
        await harness.workloads.apply(app(), MODEL)
        found = await harness.api.get(ROLE, ROUTER)
        account = await harness.api.get(SERVICE_ACCOUNT, ROUTER)
        return found is not None and found["rules"] == role["rules"] and account is not None

    await eventually(back, what="role and account set back")


async def end(harness: Harness) -> None:
    """Remove the application, and what Kubernetes would delete with it."""
    await harness.api.delete(POD, Key("default", "pd-router-7d-x"), grace_seconds=0)

    async def removed() -> bool:
        return not (await harness.workloads.remove(KEY)).terminating

    await eventually(removed, what="nothing left")
    for kind in (SERVICE_ACCOUNT, ROLE, ROLE_BINDING):
        await harness.api.delete(kind, ROUTER)
