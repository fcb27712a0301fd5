"""Resources and facts that users and endpoint-router would write, in NATS."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from arks.contracts.resources import ArksQuota, ArksToken, Resource, hash_key
from arks.contracts.subjects import Facts, fact_key
from arks.events.v1.facts_pb2 import EndpointFact
from arks.kit import bus
from arks.kit.resources import LocalResources
from arks.kit.settings import Settings

PEPPER = "benchmark"
NAMESPACE = "default"
FAR_RATES = dict.fromkeys(("rpm", "rpd", "tpm", "tpd"), 2_000_000_000)
"""All are counted and none is reached."""
BUDGETS = dict.fromkeys(("prompt", "response", "total"), 1_000_000_000_000)
QUOTA = "bench"


def token(name: str, key: str, models: Sequence[str], rates: dict[str, int], quota: str | None = QUOTA) -> ArksToken:
    """Return an ArksToken of one key with the same limits for each of the models."""
    limits = [{"type": kind, "value": value} for kind, value in rates.items()]
    budget = {"quota": {"name": quota}} if quota else {}
    rules = [{"arksEndpoint": {"name": model}, "rateLimits": limits, **budget} for model in models]
    return ArksToken.from_dict(
        _manifest("ArksToken", name, {"tokenHash": hash_key(PEPPER.encode(), key), "qos": rules})
    )


def quota(name: str = QUOTA, budgets: dict[str, int] = BUDGETS) -> ArksQuota:
    quotas = [{"type": kind, "value": value} for kind, value in budgets.items()]
    return ArksQuota.from_dict(_manifest("ArksQuota", name, {"quotas": quotas}))


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "arks.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}


@asynccontextmanager
async def connected(nats_port: int) -> AsyncIterator[bus.Bus]:
    connection = bus.Bus("bench", Settings(nats_url=f"nats://127.0.0.1:{nats_port}"), CollectorRegistry())
    await connection.start()
    try:
        yield connection
    finally:
        await connection.stop()


async def publish(nats_port: int, resources: Sequence[Resource], models: Sequence[str]) -> None:
    """Apply the resources, and write the fact that each model is ready."""
    async with connected(nats_port) as connection:
        for resource in resources:
            await LocalResources(connection, type(resource)).apply(resource)
        bucket = await connection.bucket(Facts.ENDPOINTS.value)
        for model in models:
            fact = EndpointFact(namespace=NAMESPACE, name=model, ready=True)
            await bucket.put(fact_key(NAMESPACE, model), bus.to_json(fact))
