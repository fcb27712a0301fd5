"""An autoscaler with Kubernetes' own controller of HorizontalPodAutoscalers, from no replica to three and back."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from e2e.support.cluster import Object
from e2e.support.tenant import Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
AT_ONCE = 6
"""Held requests: more than an engine has slots."""
ALWAYS: dict[str, Any] = {"name": "office", "start": "* * * * *", "end": "0 0 1 1 *"}
"""A schedule that holds: it began in this minute, and ended at New Year."""
METRICS_API = ("apiservice", "v1beta1.external.metrics.k8s.io")


def autoscaler(**spec: Any) -> dict[str, Any]:
    """For engines of 4 slots: two requests in flight a replica."""
    given: dict[str, Any] = {
        "target": {"name": "scaled"},
        "minReplicas": 0,
        "maxReplicas": 3,
        "objectives": {"slotUsePercent": 50, "tokensPerSecond": 100_000},  # the slots decide
        "scaleDown": {"windowSeconds": 60},
        "idleSeconds": 10,
    }
    return {"apiVersion": "arks.ai/v1", "kind": "ArksAutoscaler", "metadata": {"name": "chat"}, "spec": given | spec}


def with_condition(type_: str, status: str, reason: str, text: str = "") -> Callable[[Object], bool]:
    def holds(found: Object) -> bool:
        return any(
            (type_, status, reason) == (item["type"], item["status"], item["reason"]) and text in item["message"]
            for item in found.get("status", {}).get("conditions", [])
        )

    return holds


@asynccontextmanager
async def metrics_api_down(tenant: Tenant) -> AsyncIterator[None]:
    """The API server is led to a port at which nothing listens."""
    service = json.loads(await tenant.kubectl("get", *METRICS_API, "-o", "json"))["spec"]["service"]

    async def lead_to(port: int) -> None:
        patch = {"spec": {"service": {"port": port}}}
        await tenant.kubectl("patch", *METRICS_API, "--type=merge", "-p", json.dumps(patch))

    await lead_to(6444)
    try:
        yield
    finally:
        await lead_to(service["port"])


async def test_replicas_follow_load_and_bounds_between_none_and_three_and_no_request_is_lost(tenant: Tenant) -> None:
    await tenant.serve("scaled")
    await tenant.apply(autoscaler(schedules=[ALWAYS | {"minReplicas": 1}]))

    crowd = tenant.traffic("scaled", streams=True, max_tokens=64, connections=8, ignore_eos=True)
    async with crowd.running():
        await tenant.replicas_ready("scaled", 3)
        limited = with_condition("Limited", "True", "AtMaximum")
        await tenant.until("arksautoscaler", "chat", limited, what="the maximum in the status")
    async with metrics_api_down(tenant):
        inactive = with_condition("ScalingActive", "False", "FailedGetExternalMetric")
        await tenant.until("horizontalpodautoscaler", "chat", inactive, what="no metric")
        await tenant.replicas_ready("scaled", 3)
    few = tenant.traffic("scaled", streams=True, max_tokens=64, connections=1, ignore_eos=True)
    async with few.running():
        await tenant.replicas_ready("scaled", 1)
        await tenant.until_gone("pod", "scaled-1", within_seconds=240)

    await tenant.apply(autoscaler(schedules=[]))
    await tenant.until_gone("pod", "scaled-0", within_seconds=120)
    hard = {"hard": {"pods": "1"}}
    await tenant.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": hard})
    held = tenant.traffic("scaled", streams=True, max_tokens=64, connections=AT_ONCE, ignore_eos=True)
    wait = with_condition("RequestsWait", "True", "FirstReplicaStarts", "for the first replica of scaled")
    shown = asyncio.create_task(tenant.until("arksendpoint", "scaled", wait, what="requests that wait in the status"))
    async with held.running():
        await shown
        await held.answers(AT_ONCE)
        limited = with_condition("Limited", "True", "FailedCreate", "exceeded quota: small")
        found = await tenant.until("arksautoscaler", "chat", limited, what="the quota in the status")
        assert (1, 3) == (found["status"]["replicas"], found["status"]["wantedReplicas"])
    assert [] == [*crowd.faults(), *few.faults(), *held.faults()]
    assert {"engine": crowd.usage + few.usage + held.usage} == await tenant.usage()
