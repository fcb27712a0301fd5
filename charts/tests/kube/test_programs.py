"""The services' requests to the API server succeed with the services' own tokens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.contracts.resources import (
    ArksApplication,
    ArksApplicationStatus,
    ArksAutoscaler,
    ArksAutoscalerStatus,
    ArksDisaggregatedApplication,
    ArksDisaggregatedApplicationStatus,
    ArksEndpoint,
    ArksEndpointStatus,
    ArksModel,
    ArksModelStatus,
    ArksQuota,
    ArksQuotaStatus,
    ArksToken,
    ArksTokenStatus,
    Resource,
)
from arks.kit.clock import SystemClock
from arks.kit.errors import Invalid
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.election import Election
from arks.kit.kube.events import KubeEvents
from arks.kit.kube.kinds import Kind
from arks.kit.kube.resources import KubeResources
from arks.kit.kube.secrets import KubeSecrets
from arks.kit.testing.wait import eventually

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
NAMESPACE, TENANT = "arks-system", "team-a"
FINALIZER = "test.arks.ai/controller"
Cluster: TypeAlias = Any  # of conftest.py, which cannot be imported
ENGINE = {"replicas": 1, "instanceSpec": {}}
SPECS: dict[type[Resource], dict[str, Any]] = {
    ArksModel: {"model": "org/m", "storage": {"pvc": {"spec": {}}}},
    ArksApplication: {"replicas": 1, "model": {"name": "m"}, "instanceSpec": {}},
    ArksDisaggregatedApplication: {"model": {"name": "m"}, "router": ENGINE, "prefill": ENGINE, "decode": ENGINE},
    ArksAutoscaler: {"target": {"name": "a"}, "maxReplicas": 2, "objectives": {"slotUsePercent": 80}},
    ArksEndpoint: {"defaultWeight": 1, "gatewayRef": {"name": "arks"}},
    ArksQuota: {"quotas": [{"type": "total", "value": 1}]},
    ArksToken: {"token": "sk-test", "qos": [{"arksEndpoint": {"name": "m"}}]},
}
OWNERS: dict[str, dict[type[Resource], Callable[[], Any]]] = {
    "model-manager": {ArksModel: ArksModelStatus},
    "app-deployer": {
        ArksApplication: ArksApplicationStatus,
        ArksDisaggregatedApplication: ArksDisaggregatedApplicationStatus,
    },
    "metrics": {ArksAutoscaler: ArksAutoscalerStatus},
    "endpoint-router": {ArksEndpoint: ArksEndpointStatus},
    "token-quota": {ArksQuota: ArksQuotaStatus, ArksToken: ArksTokenStatus},
}
WITHOUT_FINALIZER = (ArksAutoscaler, ArksQuota, ArksToken)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def installed(cluster: Cluster) -> AsyncIterator[Cluster]:
    async with cluster.installed("arks", NAMESPACE):
        yield cluster


@asynccontextmanager
async def api_of(cluster: Cluster, service: str) -> AsyncIterator[KubeApi]:
    """A client of the API server with the rights of the service's account."""
    kubeconfig = await cluster.server.kubeconfig_of(f"arks-{service}", NAMESPACE)
    api = KubeApi(f"arks-{service}", CollectorRegistry(), kubeconfig)
    await api.start()
    try:
        yield api
    finally:
        await api.stop()


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def manifest(kind: type[Resource]) -> dict[str, Any]:
    metadata = {"name": "m", "namespace": TENANT}
    return {"apiVersion": "arks.ai/v1", "kind": kind.__name__, "metadata": metadata, "spec": SPECS[kind]}


@pytest.mark.parametrize(("service", "kind"), [(service, kind) for service, kinds in OWNERS.items() for kind in kinds])
async def test_an_owner_may_watch_finalize_and_update_its_resources(
    service: str, kind: type[Resource], installed: Cluster
) -> None:
    key = Key(TENANT, "m")
    await installed.apply(manifest(kind))
    async with api_of(installed, service) as api:
        resources = KubeResources(api, kind)
        async with running(resources.run()):
            found = await eventually(lambda: resources.cache.get(key), what="the resource is in the cache")
            assert found is not None
            if kind not in WITHOUT_FINALIZER:
                await resources.add_finalizer(key, FINALIZER)
            await resources.patch_status(key, OWNERS[service][kind]())
            events = KubeEvents(api, f"arks-{service}", SystemClock())
            await events.emit(found, "Test", "the same message")
            await events.emit(found, "Test", "the same message")
            await resources.remove_finalizer(key, FINALIZER)
    counts = await installed.server.kubectl("get", "events", "-n", TENANT, "-o", "jsonpath={.items[*].count}")
    assert "2" in counts.split()
    await installed.server.kubectl("delete", kind.plural, "m", "-n", TENANT)


@pytest.mark.parametrize("service", ["model-manager", "app-deployer", "metrics", "endpoint-router", "token-quota"])
async def test_every_service_can_elect_its_leader(service: str, installed: Cluster) -> None:
    async with api_of(installed, service) as api:
        for identity in ("first", "second"):
            election = Election(api, Key(NAMESPACE, f"arks-{service}"), identity, SystemClock())
            async with running(election.run()):
                await asyncio.wait_for(election.leading.wait(), 60)
            await election.release()


async def test_token_quota_can_read_the_secret_of_a_token(installed: Cluster) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "k", "namespace": TENANT}}
    await installed.apply({**secret, "stringData": {"token": "sk-1"}})
    async with api_of(installed, "token-quota") as api:
        assert {"token": b"sk-1"} == await KubeSecrets(api).read(Key(TENANT, "k"))


async def test_app_deployer_can_let_a_router_read_pods_and_cannot_grant_more(installed: Cluster) -> None:
    group = "rbac.authorization.k8s.io"
    role = Kind(group, "v1", "Role", "roles")

    def manifest(resource: str) -> dict[str, Any]:
        rule = {"apiGroups": [""], "resources": [resource], "verbs": ["get", "list", "watch"]}
        metadata = {"name": "m-router", "namespace": TENANT}
        return {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}

    async with api_of(installed, "app-deployer") as api:
        await api.apply(role, manifest("pods"))
        with pytest.raises(Invalid, match="attempting to grant RBAC permissions not currently held"):
            await api.apply(role, manifest("secrets"))
    await installed.server.kubectl("delete", "role", "m-router", "-n", TENANT)
