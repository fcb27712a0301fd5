"""Rights of installations that serve one namespace, or read Secrets in some namespaces only."""

from typing import Any, TypeAlias

import pytest

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
NAMESPACE = "arks-system"
RESOURCES = (
    *("arksmodels.arks.ai", "arksapplications.arks.ai", "arkstokens.arks.ai", "arksendpoints.arks.ai"),
    *("secrets", "pods", "services", "events", "jobs.batch", "leaderworkersets.leaderworkerset.x-k8s.io"),
)
SERVICES = ("model-manager", "app-deployer", "endpoint-router", "token-quota")
Cluster: TypeAlias = Any  # of conftest.py, which cannot be imported
Rights: TypeAlias = Any


async def test_a_release_for_one_namespace_has_no_rights_in_others(cluster: Cluster, rights: Rights) -> None:
    async with cluster.installed("arks", NAMESPACE, "--set", "watchNamespace=team-a"):
        for service in SERVICES:
            assert await rights.of(service, "team-a", RESOURCES)
            assert {} == await rights.of(service, "team-b", RESOURCES)


async def test_secrets_are_readable_only_in_listed_namespaces(cluster: Cluster, rights: Rights) -> None:
    async with cluster.installed("arks", NAMESPACE, "--set", "rbac.secrets.namespaces={team-a}"):
        assert {"secrets": {"get"}} == await rights.of("token-quota", "team-a", ["secrets"])
        assert {} == await rights.of("token-quota", "team-b", ["secrets"])


async def test_no_secret_is_readable_if_that_is_disabled(cluster: Cluster, rights: Rights) -> None:
    async with cluster.installed("arks", NAMESPACE, "--set", "rbac.secrets.enabled=false"):
        assert {} == await rights.of("token-quota", "team-a", ["secrets"])


async def test_routes_are_writable_only_in_listed_namespaces(cluster: Cluster, rights: Rights) -> None:
    routes = ["httproutes.gateway.networking.k8s.io"]
    async with cluster.installed("arks", NAMESPACE, "--set", "gateway.httpRoutes.namespaces={team-a}"):
        written = {"httproutes.gateway.networking.k8s.io": {"get", "create", "patch", "delete"}}
        assert written == await rights.of("endpoint-router", "team-a", routes)
        assert {} == await rights.of("endpoint-router", "team-b", routes)
        assert {} == await rights.of("app-deployer", "team-a", routes)
