"""`helm upgrade` to other images and values, and `helm rollback`, under streaming load."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from arks.kit.testing import manifests
from arks.kit.testing.helm import helm
from e2e.support.cluster import Cluster
from e2e.support.pods import running_pods
from e2e.support.tenant import SYSTEM, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
IMAGES = ("image.tag=next", "gateway.image.tag=next", "nats.image.tag=next", "redis.image.tag=next")
ENGINE = "arks/llamacpp:dev"
VALUES = ("logLevel=debug", "services.token-quota.settings.reservation_seconds=500")


async def test_an_upgrade_and_a_rollback_drop_no_stream_and_keep_engines_with_a_pinned_image(
    tenant: Tenant, cluster: Cluster, reinstall: Callable[..., Awaitable[None]], tag_images: Callable[[str], None]
) -> None:
    """An engine with the platform's default image is replaced, and drops no stream either."""
    await tenant.serve("follows")
    await tenant.serve("pinned", runtimeImage=ENGINE)
    await tenant.apply(manifests.token("key", tenant.key, "follows", "pinned", namespace=tenant.namespace))
    pinned, follows = [await running_pods(tenant, f"arks.ai/application={name}") for name in ("pinned", "follows")]
    system = cluster.within(SYSTEM)
    before = await running_pods(system, "app.kubernetes.io/name=arks")
    tag_images("next")
    streams: dict[str, Any] = {"streams": True, "max_tokens": 64, "ignore_eos": True}
    following = tenant.traffic("follows", connections=2, **streams)
    other = tenant.traffic("pinned", connections=2, **streams)
    try:
        async with following.running(), other.running():
            await reinstall(*(word for value in (*IMAGES, *VALUES) for word in ("--set", value)))
            upgraded = await running_pods(system, "app.kubernetes.io/name=arks")
            await tenant.replicas_ready("follows", 1)
            assert not set((await running_pods(tenant, "arks.ai/application=follows")).values()) & set(follows.values())
            await asyncio.to_thread(rollback, cluster.kubeconfig)
            await system.settled()
            await asyncio.gather(following.answers(6), other.answers(6))
    finally:
        await reinstall()
    assert [] == [*following.faults(), *other.faults()]
    assert not set(before.values()) & set(upgraded.values()) - {before["arks-postgresql-0"]}
    assert pinned == await running_pods(tenant, "arks.ai/application=pinned")
    assert {"engine": following.usage + other.usage} == await tenant.usage()


def rollback(kubeconfig: Path) -> None:
    helm("rollback", "arks", "--namespace", SYSTEM, kubeconfig=kubeconfig)
