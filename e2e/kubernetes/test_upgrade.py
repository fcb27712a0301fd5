"""`helm upgrade` to other images and values, and `helm rollback`, under streaming load."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from arks.kit.testing.cluster import Cluster
from arks.kit.testing.helm import helm
from arks.kit.testing.tenant import SYSTEM, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
IMAGES = ("image.tag=next", "gateway.image.tag=next", "nats.image.tag=next", "redis.image.tag=next")
VALUES = ("logLevel=debug", "services.token-quota.settings.reservation_seconds=500")


async def pods_of(cluster: Cluster, selector: str) -> dict[str, str]:
    """Name -> uid."""
    pods = await cluster.all("pods", selector)
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}


async def test_an_upgrade_and_a_rollback_drop_no_stream_and_touch_no_engine(
    tenant: Tenant, cluster: Cluster, reinstall: Callable[..., Awaitable[None]], tag_images: Callable[[str], None]
) -> None:
    await tenant.serve("upgraded")
    engines, system = await pods_of(tenant, "arks.ai/application=upgraded"), cluster.within(SYSTEM)
    before = await pods_of(system, "app.kubernetes.io/name=arks")
    tag_images("next")
    try:
        async with tenant.traffic("upgraded", streams=True, max_tokens=64, ignore_eos=True).running() as traffic:
            await reinstall(*(word for value in (*IMAGES, *VALUES) for word in ("--set", value)))
            await traffic.answers()
            upgraded = await pods_of(system, "app.kubernetes.io/name=arks")
            await asyncio.to_thread(rollback, cluster.kubeconfig)
            await system.settled()
            await traffic.answers()
    finally:
        await reinstall()
    assert [] == traffic.faults()
    assert not set(before.values()) & set(upgraded.values()) - {before["arks-postgresql-0"]}
    assert engines == await pods_of(tenant, "arks.ai/application=upgraded")
    assert {"engine": traffic.told} == await tenant.usage()


def rollback(kubeconfig: Path) -> None:
    helm("rollback", "arks", "--namespace", SYSTEM, kubeconfig=kubeconfig)
