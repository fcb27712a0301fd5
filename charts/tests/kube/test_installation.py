"""Installing, upgrading and removing: what is refused, and what stays."""

import json
from typing import Any, TypeAlias

import pytest

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
NAMESPACE = "arks-system"
Cluster: TypeAlias = Any  # of conftest.py, which cannot be imported


async def test_definitions_come_first(cluster: Cluster) -> None:
    assert "install the chart arks-crds first" in cluster.refusals[0]
    assert "LeaderWorkerSet is not installed" in cluster.refusals[1]


async def test_beside_a_release_for_all_namespaces_there_is_no_other(cluster: Cluster) -> None:
    async with cluster.installed("arks", NAMESPACE):
        for options in ((), ("--set", "watchNamespace=team-a")):
            told = await cluster.refused("other", "elsewhere", *options)
            assert f"release {NAMESPACE}/arks already serves all namespaces" in told


async def test_releases_with_namespaces_of_their_own_do_not_know_each_other(cluster: Cluster) -> None:
    async with cluster.installed("one", "elsewhere", "--set", "watchNamespace=team-a"):
        async with cluster.installed("two", NAMESPACE, "--set", "watchNamespace=team-b"):
            pass
        same = await cluster.refused("two", NAMESPACE, "--set", "watchNamespace=team-a")
        assert "release elsewhere/one already serves namespace team-a" in same
        every = await cluster.refused("two", NAMESPACE)
        assert "release elsewhere/one already serves namespace team-a" in every


async def test_one_namespace_holds_one_release(cluster: Cluster) -> None:
    """Their services would elect one leader between them."""
    async with cluster.installed("one", "elsewhere", "--set", "watchNamespace=team-a"):
        told = await cluster.refused("two", "elsewhere", "--set", "watchNamespace=team-b")
        assert "release elsewhere/one runs in this namespace already" in told


async def test_a_release_may_be_upgraded_and_change_what_it_serves(cluster: Cluster) -> None:
    async with cluster.installed("arks", NAMESPACE, "--set", "watchNamespace=team-a"):
        await cluster.upgrade("arks", NAMESPACE, "--set", "watchNamespace=team-b")
        await cluster.upgrade("arks", NAMESPACE, "--reset-values")
        found = json.loads(await cluster.server.kubectl("get", "clusterroles", "-l", "arks.ai/marker", "-o", "json"))
        assert ["arks-serves-all-namespaces"] == [marker["metadata"]["name"] for marker in found["items"]]


async def test_what_says_who_serves_a_namespace_grants_nothing(cluster: Cluster) -> None:
    async with cluster.installed("arks", NAMESPACE):
        marker = await cluster.server.kubectl("get", "clusterrole", "arks-serves-all-namespaces", "-o", "json")
        assert not json.loads(marker).get("rules")


async def test_secrets_survive_upgrade_uninstall_and_reinstallation(cluster: Cluster) -> None:
    async with cluster.installed("arks", NAMESPACE):
        made = await cluster.secret()
        await cluster.upgrade("arks", NAMESPACE, "--set", "logLevel=debug")
        assert made == await cluster.secret()
    assert made == await cluster.secret()
    async with cluster.installed("arks", NAMESPACE):
        assert made == await cluster.secret()


async def test_removing_arks_keeps_what_people_made(cluster: Cluster) -> None:
    quota = {
        "apiVersion": "arks.ai/v1",
        "kind": "ArksQuota",
        "metadata": {"name": "kept", "namespace": "team-a"},
        "spec": {"quotas": [{"type": "total", "value": 1}]},
    }
    async with cluster.installed("arks", NAMESPACE):
        await cluster.apply(quota)
    assert "kept" in await cluster.server.kubectl("get", "arksquotas", "-n", "team-a")
    await cluster.server.kubectl("delete", "arksquota", "kept", "-n", "team-a")


async def test_a_release_leaves_nothing_of_the_cluster_behind(cluster: Cluster) -> None:
    async with cluster.installed("arks", NAMESPACE):
        pass
    kinds = "clusterroles,clusterrolebindings,deployments,statefulsets,services,networkpolicies,configmaps"
    options = ("-A", "-l", "app.kubernetes.io/instance=arks", "-o", "name")
    assert "" == await cluster.server.kubectl("get", kinds, *options)
