"""Measures the time from a change of a spec until its effect on clients."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.testing.wait import eventually
from arks.kit.types import Json
from bench.scale.cluster import ENDPOINT, TOKEN, Tenant
from bench.scale.gateway import Gateway

_LATEST_SECONDS = 20.0
_SPREAD_SECONDS = 0.05
"""Pause between two changes, so that each one meets an idle platform."""
Change = Callable[[], Awaitable[object]]
Effect = Callable[[], Awaitable[bool]]


async def _seconds(change: Change, visible: Effect) -> float:
    """Seconds from the API server's answer until the effect. Raises AssertionError."""
    await change()
    began = time.monotonic()
    await eventually(visible, within_seconds=_LATEST_SECONDS)  # polls a hundred times a second
    taken = time.monotonic() - began
    await asyncio.sleep(_SPREAD_SECONDS)
    return taken


async def weights(api: KubeApi, gateway: Gateway, tenants: list[Tenant], times: int) -> list[float]:
    """Seconds from a new share of an endpoint's second application until Envoy has its weight."""
    first = tenants[0]
    other = next(tenant for tenant in tenants[1:] if tenant.namespace == first.namespace)
    taken = []
    for number in range(times):
        weight = 5 + number % 90

        async def change(weight: int = weight) -> object:
            routes = [{"name": f"arks-application-{other.name}", "weight": weight}]
            return await api.merge(ENDPOINT, first.key, {"spec": {"defaultWeight": 10, "routeConfigs": routes}})

        async def visible(weight: int = weight) -> bool:
            parts = await gateway.parts(str(first.key))
            return parts.get(other.name) == round(100_000 * weight / (weight + 10))

        taken.append(await _seconds(change, visible))
    await api.merge(ENDPOINT, first.key, {"spec": {"routeConfigs": None}})
    return taken


async def limits(api: KubeApi, gateway: Gateway, tenant: Tenant, times: int) -> list[float]:
    """Seconds from a limit below the requests of today until 429, and from a higher limit until 200."""
    token, key = Key(tenant.namespace, tenant.token(0)), tenant.secret_key(0)
    for _ in range(5):
        await gateway.request(key, tenant.name)
    taken = []
    for number in range(times):
        limit, status = (10**6, 200) if number % 2 else (1, 429)

        async def change(limit: int = limit) -> object:
            limits = [{"type": "rpd", "value": limit}]
            qos: Json = {"arksEndpoint": {"name": tenant.name}, "rateLimits": limits}
            return await api.merge(TOKEN, token, {"spec": {"qos": [qos]}})

        async def visible(status: int = status) -> bool:
            return await gateway.request(key, tenant.name) == status

        taken.append(await _seconds(change, visible))
    return taken


async def revocations(api: KubeApi, gateway: Gateway, tenants: list[Tenant], which: int) -> list[float]:
    """Seconds from the deletion of a token until 401."""
    taken = []
    for tenant in tenants:
        token, key = Key(tenant.namespace, tenant.token(which)), tenant.secret_key(which)
        assert await gateway.request(key, tenant.name) == 200, f"{token} does not work"

        async def change(token: Key = token) -> object:
            return await api.delete(TOKEN, token)

        async def visible(key: str = key, model: str = tenant.name) -> bool:
            return await gateway.request(key, model) == 401

        taken.append(await _seconds(change, visible))
    return taken
