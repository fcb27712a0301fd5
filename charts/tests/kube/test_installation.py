"""Installation, upgrade and removal: which ones are refused, and which objects stay."""

import base64
import json
import re
from typing import Any, TypeAlias

import pytest

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
NAMESPACE = "arks-system"
Cluster: TypeAlias = Any  # of conftest.py, which cannot be imported


async def test_an_installation_without_crds_is_refused(cluster: Cluster) -> None:
    assert "install the chart arks-crds first" in cluster.refusals[0]
    assert "arksquotas.arks.ai" in cluster.not_owned  # --take-ownership installs them all the same
    assert "LeaderWorkerSet is not installed" in cluster.refusals[1]


async def test_a_second_release_beside_one_for_all_namespaces_is_refused(cluster: Cluster) -> None:
    async with cluster.installed("arks", NAMESPACE):
        for options in ((), ("--set", "watchNamespace=team-a")):
            error = await cluster.refused("other", "elsewhere", *options)
            assert f"release {NAMESPACE}/arks already serves all namespaces" in error


async def test_releases_for_different_namespaces_do_not_conflict(cluster: Cluster) -> None:
    async with cluster.installed("one", "elsewhere", "--set", "watchNamespace=team-a"):
        async with cluster.installed("two", NAMESPACE, "--set", "watchNamespace=team-b"):
            pass
        same = await cluster.refused("two", NAMESPACE, "--set", "watchNamespace=team-a")
        assert "release elsewhere/one already serves namespace team-a" in same
        every = await cluster.refused("two", NAMESPACE)
        assert "release elsewhere/one already serves namespace team-a" in every


async def test_a_second_release_in_one_namespace_is_refused(cluster: Cluster) -> None:
    """The services of both releases would elect one common leader."""
    async with cluster.installed("one", "elsewhere", "--set", "watchNamespace=team-a"):
        error = await cluster.refused("two", "elsewhere", "--set", "watchNamespace=team-b")
        assert "release elsewhere/one already runs in this namespace" in error


async def test_an_upgrade_may_change_the_served_namespaces(cluster: Cluster) -> None:
    async with cluster.installed("arks", NAMESPACE, "--set", "watchNamespace=team-a"):
        await cluster.upgrade("arks", NAMESPACE, "--set", "watchNamespace=team-b")
        await cluster.upgrade("arks", NAMESPACE, "--reset-values")
        found = json.loads(await cluster.server.kubectl("get", "clusterroles", "-l", "arks.ai/marker", "-o", "json"))
        assert ["arks-serves-all-namespaces"] == [marker["metadata"]["name"] for marker in found["items"]]


async def test_the_marker_of_the_served_namespaces_grants_nothing(cluster: Cluster) -> None:
    async with cluster.installed("arks", NAMESPACE):
        marker = await cluster.server.kubectl("get", "clusterrole", "arks-serves-all-namespaces", "-o", "json")
        assert not json.loads(marker).get("rules")


async def _gateways_without_a_token_are_served_only_by_the_upgrade_that_replaces_them(cluster: Cluster) -> None:
    """Their Deployment does not name the token."""
    for change, served in (("ARKS_LOG=1", False), ("ARKS_GATEWAY_TOKEN-", True)):
        await cluster.server.kubectl("set", "env", "-n", NAMESPACE, "deployment/arks-gateway", "-c", "envoy", change)
        rendered = await cluster.upgrade("arks", NAMESPACE, "--dry-run=server")
        assert (2 if served else 0) == rendered.count("ARKS_GATEWAY_TOKEN_REQUIRED")
        assert served == ("again to require the token" in rendered)


async def test_secrets_survive_upgrade_uninstall_and_reinstallation(cluster: Cluster) -> None:
    async with cluster.installed("arks", NAMESPACE):
        created = await cluster.secret()
        values = {base64.b64decode(value).decode() for value in created.values()}
        assert 7 == len(values)
        assert all(re.fullmatch("a[0-9A-Za-z]{47}", value) for value in values)
        await cluster.upgrade("arks", NAMESPACE, "--set", "logLevel=debug")
        assert created == await cluster.secret()
        await _gateways_without_a_token_are_served_only_by_the_upgrade_that_replaces_them(cluster)
    assert created == await cluster.secret()
    async with cluster.installed("arks", NAMESPACE):
        assert created == await cluster.secret()


async def test_a_secret_of_the_operators_own_needs_the_tokens(cluster: Cluster) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "own", "namespace": NAMESPACE}}
    await cluster.apply({**secret, "stringData": {"pepper": "p", "gateway-token": "t"}})
    error = await cluster.refused("arks", NAMESPACE, "--set", "secrets.existingSecret=own")
    assert "Secret own has no key operator-token" in error


async def test_uninstalling_keeps_the_users_resources(cluster: Cluster) -> None:
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


async def test_uninstalling_deletes_everything_else(cluster: Cluster) -> None:
    async with cluster.installed("arks", NAMESPACE):
        pass
    kinds = "clusterroles,clusterrolebindings,deployments,statefulsets,services,networkpolicies,configmaps"
    options = ("-A", "-l", "app.kubernetes.io/instance=arks", "-o", "name")
    assert "" == await cluster.server.kubectl("get", kinds, *options)
