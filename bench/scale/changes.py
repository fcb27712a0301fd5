"""From a change of a spec to what clients feel of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from arks.kit.kube.api import Json, KubeApi
from arks.kit.reconcile import Key
from arks.kit.testing.wait import eventually
from bench.scale.cluster import ENDPOINT, TOKEN, Tenant
from bench.scale.gateway import Gateway

_LATEST_SECONDS = 20.0
_SPREAD_SECONDS = 0.05
"""Between two changes: each is felt by an idle platform."""
Change = Callable[[], Awaitable[object]]
Felt = Callable[[], Awaitable[bool]]


async def _seconds(change: Change, felt: Felt) -> float:
    """From the API server's answer until it is felt. Raises AssertionError."""
    await change()
    began = time.monotonic()
    await eventually(felt, within_seconds=_LATEST_SECONDS)  # looks a hundred times a second
    taken = time.monotonic() - began
    await asyncio.sleep(_SPREAD_SECONDS)
    return taken


async def weights(api: KubeApi, gateway: Gateway, tenants: list[Tenant], times: int) -> list[float]:
    """Share of a second application behind an endpoint -> weights that Envoy has."""
    first = tenants[0]
    other = next(one for one in tenants[1:] if one.namespace == first.namespace)
    taken = []
    for number in range(times):
        weight = 5 + number % 90

        async def change(weight: int = weight) -> object:
            routes = [{"name": f"arks-application-{other.name}", "weight": weight}]
            return await api.merge(ENDPOINT, first.key, {"spec": {"defaultWeight": 10, "routeConfigs": routes}})

        async def felt(weight: int = weight) -> bool:
            parts = await gateway.parts(str(first.key))
            return parts.get(other.name) == round(100_000 * weight / (weight + 10))

        taken.append(await _seconds(change, felt))
    await api.merge(ENDPOINT, first.key, {"spec": {"routeConfigs": None}})
    return taken


async def limits(api: KubeApi, gateway: Gateway, tenant: Tenant, times: int) -> list[float]:
    """A day's requests of a token down to less than were made -> 429; up again -> 200."""
    token, key = Key(tenant.namespace, tenant.token(0)), tenant.secret_key(0)
    for _ in range(5):
        await gateway.ask(key, tenant.name)
    taken = []
    for number in range(times):
        limit, status = (10**6, 200) if number % 2 else (1, 429)

        async def change(limit: int = limit) -> object:
            limits = [{"type": "rpd", "value": limit}]
            qos: Json = {"arksEndpoint": {"name": tenant.name}, "rateLimits": limits}
            return await api.merge(TOKEN, token, {"spec": {"qos": [qos]}})

        async def felt(status: int = status) -> bool:
            return await gateway.ask(key, tenant.name) == status

        taken.append(await _seconds(change, felt))
    return taken


async def revocations(api: KubeApi, gateway: Gateway, tenants: list[Tenant], which: int) -> list[float]:
    """A token deleted -> 401."""
    taken = []
    for tenant in tenants:
        token, key = Key(tenant.namespace, tenant.token(which)), tenant.secret_key(which)
        assert await gateway.ask(key, tenant.name) == 200, f"{token} does not work"

        async def change(token: Key = token) -> object:
            return await api.delete(TOKEN, token)

        async def felt(key: str = key, model: str = tenant.name) -> bool:
            return await gateway.ask(key, model) == 401

        taken.append(await _seconds(change, felt))
    return taken
