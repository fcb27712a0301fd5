"""`helm upgrade` to a newer chart, other images and values, and `helm rollback`, under streaming load."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from arks.contracts.resources import Runtime
from arks.kit.testing import manifests
from arks.kit.testing.helm import helm
from arks.kit.testing.wait import eventually
from e2e.support.cluster import Cluster, KubectlError
from e2e.support.pods import running_pods
from e2e.support.tenant import SYSTEM, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(900)]
IMAGES = ("image.tag=next", "gateway.image.tag=next", "nats.image.tag=next", "redis.image.tag=next")
CRD = "arksapplications.arks.ai"
RUNTIMES = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/runtime/enum"
LAST = len(["", *Runtime])
"""Index of one more runtime in the CRD's list."""
NEWER = "of-a-newer-version"
ENGINE = "arks/llamacpp:dev"
VALUES = ("logLevel=debug", "services.usage-meter.settings.reservation_seconds=500")


async def test_an_upgrade_and_a_rollback_drop_no_stream_and_keep_engines_with_a_pinned_image(
    tenant: Tenant,
    cluster: Cluster,
    upgrade: Callable[..., Awaitable[None]],
    reinstall: Callable[..., Awaitable[None]],
    tag_images: Callable[[str], None],
) -> None:
    """An engine with the platform's default image is replaced, and drops no stream either. The version that is rolled
    back to cannot read an application of the newer one: its engine goes on."""
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
            await upgrade(*(word for value in (*IMAGES, *VALUES) for word in ("--set", value)))
            upgraded = await running_pods(system, "app.kubernetes.io/name=arks")
            await tenant.replicas_ready("follows", 1)
            assert not set((await running_pods(tenant, "arks.ai/application=follows")).values()) & set(follows.values())
            async with newer_runtime(tenant, "pinned"):
                await asyncio.to_thread(rollback, cluster.kubeconfig)
                await system.settled()
                await asyncio.gather(following.answers(6), other.answers(6))
    finally:
        await reinstall()
    assert [] == [*following.faults(), *other.faults()]
    assert not set(before.values()) & set(upgraded.values()) - {before["arks-postgresql-0"]}
    assert pinned == await running_pods(tenant, "arks.ai/application=pinned")
    assert {"engine": following.usage + other.usage} == await tenant.usage()


@asynccontextmanager
async def newer_runtime(tenant: Tenant, application: str) -> AsyncIterator[None]:
    """Give an application a runtime that only a newer version knows, with its CRD. Ends once it can be read again."""

    async def patch(kind: str, name: str, *steps: dict[str, Any]) -> None:
        await tenant.kubectl("patch", kind, name, "--type=json", "-p", json.dumps(steps))

    async def accepts(status: str) -> bool:
        found = await tenant.get("arksapplication", application) or {}
        conditions = found.get("status", {}).get("conditions", [])
        known = {condition["type"]: condition["status"] for condition in conditions}
        return bool(known.get("Accepted", "True") == status)

    await patch("crd", CRD, {"op": "add", "path": f"{RUNTIMES}/-", "value": NEWER})
    set_newer = {"op": "replace", "path": "/spec/runtime", "value": NEWER}
    # The API server takes a moment to accept what the changed CRD allows
    await eventually(lambda: _done(patch("arksapplication", application, set_newer)), every_seconds=0.5, what="runtime")
    await eventually(lambda: accepts("False"), every_seconds=0.5, what="the condition of what cannot be read")
    try:
        yield
    finally:
        await patch("arksapplication", application, set_newer | {"value": "llamacpp"})
        await patch("crd", CRD, {"op": "remove", "path": f"{RUNTIMES}/{LAST}"})
        await eventually(lambda: accepts("True"), every_seconds=0.5, what="an application that can be read")


async def _done(patched: Awaitable[None]) -> bool:
    try:
        await patched
    except KubectlError:
        return False
    return True


def rollback(kubeconfig: Path) -> None:
    helm("rollback", "arks", "--namespace", SYSTEM, kubeconfig=kubeconfig)
