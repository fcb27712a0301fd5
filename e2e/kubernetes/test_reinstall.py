"""`helm uninstall` keeps the users' objects, a new installation adopts them, and a second release is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from arks.kit.testing.helm import HelmFailed, helm
from e2e.support.cluster import Cluster
from e2e.support.tenant import SYSTEM, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


@pytest.mark.alone
async def test_a_new_installation_adopts_models_engines_and_ledger(
    tenant: Tenant, cluster: Cluster, reinstall: Callable[..., Awaitable[None]]
) -> None:
    await tenant.serve("kept")
    pod = await tenant.get("pod", "kept-0")
    assert pod is not None
    async with tenant.traffic("kept").running() as traffic:
        await traffic.answers()
    used = {"engine": traffic.usage}
    assert used == await tenant.usage()

    await asyncio.to_thread(helm, "uninstall", "arks", "--namespace", SYSTEM, "--wait", kubeconfig=cluster.kubeconfig)
    try:
        assert [] == await cluster.within(SYSTEM).all("deployments,statefulsets")
        assert "Running" == (await tenant.get("arksapplication", "kept") or {})["status"]["phase"]
        assert pod["metadata"]["uid"] == (await tenant.get("pod", "kept-0") or {})["metadata"]["uid"]
    finally:
        await reinstall()

    assert used == await tenant.usage()
    async with traffic.running():
        await traffic.answers()
    assert [] == traffic.faults()
    assert {"engine": traffic.usage} == await tenant.usage()
    assert pod["metadata"]["uid"] == (await tenant.get("pod", "kept-0") or {})["metadata"]["uid"]


async def test_a_second_release_for_the_same_namespaces_is_refused(cluster: Cluster, charts: Path) -> None:
    (chart,) = charts.glob("arks-[0-9]*.tgz")
    other = ("--namespace", "arks-other", "--create-namespace")
    try:
        with pytest.raises(HelmFailed, match="arks-system") as refused:
            await asyncio.to_thread(helm, "install", "arks", str(chart), *other, kubeconfig=cluster.kubeconfig)
        assert "watchNamespace" in str(refused.value)
        created = await cluster.within("arks-other").all("deployments,services,secrets", "app.kubernetes.io/name=arks")
        assert [] == created
    finally:
        await cluster.kubectl("delete", "namespace", "arks-other", "--ignore-not-found", within_seconds=240)
