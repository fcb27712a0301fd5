"""Rights of the services' accounts, queried from a real API server."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
NAMESPACE = "arks-system"
Cluster: TypeAlias = Any  # of conftest.py, which cannot be imported
Rights: TypeAlias = Any

READ = {"get", "list", "watch"}
WRITE = READ | {"create", "patch", "delete"}
EVENTS = {"events": {"get", "create", "patch"}}
RIGHTS: dict[str, dict[str, set[str]]] = {
    "model-manager": {
        "arksmodels.arks.ai": READ | {"patch"},
        "arksmodels.arks.ai/status": {"patch"},
        "arksmodels.arks.ai/finalizers": {"update"},
        "arksapplications.arks.ai": {"list", "watch"},
        "arksdisaggregatedapplications.arks.ai": {"list", "watch"},
        "storageclasses.storage.k8s.io": {"get"},
        "persistentvolumeclaims": WRITE - {"delete"},
        "jobs.batch": WRITE,
        "pods": {"list", "watch"},
        "pods/log": {"get"},
        "events": {"get", "list", "create", "patch"},
    },
    "app-deployer": {
        "arksapplications.arks.ai": READ | {"patch"},
        "arksapplications.arks.ai/status": {"patch"},
        "arksapplications.arks.ai/finalizers": {"update"},
        "arksdisaggregatedapplications.arks.ai": READ | {"patch"},
        "arksdisaggregatedapplications.arks.ai/status": {"patch"},
        "arksdisaggregatedapplications.arks.ai/finalizers": {"update"},
        "leaderworkersets.leaderworkerset.x-k8s.io": WRITE,
        "deployments.apps": WRITE,
        "services": WRITE,
        "pods": READ | {"delete"},
        "serviceaccounts": WRITE - {"delete"},
        "roles.rbac.authorization.k8s.io": WRITE - {"delete"},
        "rolebindings.rbac.authorization.k8s.io": WRITE - {"delete"},
        "statefulsets.apps": {"list"},
        "nodes": {"list"},
        "events": {"get", "list", "create", "patch"},
    },
    "metrics": {
        "arksautoscalers.arks.ai": READ,
        "arksautoscalers.arks.ai/status": {"patch"},
        **EVENTS,
    },
    "endpoint-router": {
        "arksendpoints.arks.ai": READ | {"patch"},
        "arksendpoints.arks.ai/status": {"patch"},
        **EVENTS,
    },
    "token-quota": {
        "arkstokens.arks.ai": READ,
        "arkstokens.arks.ai/status": {"patch"},
        "arksquotas.arks.ai": READ,
        "arksquotas.arks.ai/status": {"patch"},
        "secrets": {"get"},
        **EVENTS,
    },
    "usage-meter": {"arkstokens.arks.ai": READ, "arksquotas.arks.ai": READ},
    "gateway": {},
    "nats": {},
    "redis": {},
    "postgresql": {},
}
"""All rights of each account in a served namespace."""
DENIED_TO_ALL = (
    "endpointslices.discovery.k8s.io",
    "configmaps",
    "pods/exec",
    "nodes",
    "clusterroles.rbac.authorization.k8s.io",
    "httproutes.gateway.networking.k8s.io",
)
RESOURCES = sorted({resource for rights in RIGHTS.values() for resource in rights} | set(DENIED_TO_ALL))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def installed(cluster: Cluster) -> AsyncIterator[Cluster]:
    async with cluster.installed("arks", NAMESPACE):
        yield cluster


@pytest.mark.parametrize("service", RIGHTS)
async def test_an_account_has_exactly_the_listed_rights(service: str, installed: Cluster, rights: Rights) -> None:
    assert RIGHTS[service] == await rights.of(service, "team-a", RESOURCES)


@pytest.mark.parametrize("service", ["model-manager", "metrics", "token-quota"])
async def test_a_service_may_renew_only_its_own_lease(service: str, installed: Cluster, rights: Rights) -> None:
    async def may(verb: str, name: str, namespace: str = NAMESPACE) -> bool:
        return bool(await rights.may(service, verb, "leases.coordination.k8s.io", namespace, name=name))

    own = f"arks-{service}"
    assert [True, True, True] == [await may("create", ""), await may("get", own), await may("patch", own)]
    assert [False, False] == [await may("patch", "arks-app-deployer"), await may("create", "", "team-a")]


async def test_the_api_server_rejects_a_request_without_the_right(installed: Cluster) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:arks-endpoint-router"
    await installed.server.kubectl("get", "arksendpoints", "-A", account)
    with pytest.raises(RuntimeError, match='cannot list resource "arkstokens"'):
        await installed.server.kubectl("get", "arkstokens", "-A", account)
    assert "yes" == (await installed.server.kubectl("auth", "can-i", "list", "arksendpoints", account, "-A")).strip()
