"""Two tenants use the same names for everything and do not affect each other."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
import pytest_asyncio

from arks.kit.testing import manifests
from arks.kit.testing.wait import eventually
from e2e.support.clients import ClientOf
from e2e.support.cluster import Cluster, Object
from e2e.support.quotas import used_tokens
from e2e.support.status import has_phases
from e2e.support.tenant import Tenant
from e2e.support.traffic import Traffic

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
MODEL, QUOTA = "chat", "budget"
CHARGED_SECONDS = 120.0


def key_of(tenant: Tenant) -> str:
    return f"sk-member-of-{tenant.namespace}"


def a_budget(tenant: Tenant, tokens: int) -> manifests.Document:
    return manifests.quota(QUOTA, tenant.namespace, total=tokens)


@pytest_asyncio.fixture
async def tenants(cluster: Cluster, gateway: str) -> AsyncIterator[tuple[Tenant, Tenant]]:
    """Two tenants, each with a model, an application, an endpoint, a token and a quota of the same names."""
    red, blue = (Tenant.of(cluster, f"tenant-{name}", f"{gateway}/v1") for name in ("red", "blue"))
    async with red.created(), blue.created():
        for tenant in (red, blue):
            member = manifests.token("member", key_of(tenant), MODEL, namespace=tenant.namespace, quota=QUOTA, rpm=1000)
            await tenant.apply(a_budget(tenant, 100_000), member)
        await asyncio.gather(red.serve(MODEL), blue.serve(MODEL))
        yield red, blue


def traffic_of(tenant: Tenant, max_tokens: int) -> Traffic:
    return Traffic(tenant.gateway_url, key_of(tenant), MODEL, max_tokens=max_tokens)


async def chat(client: openai.AsyncOpenAI) -> None:
    await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}], max_tokens=2)


async def until_refused(
    client: openai.AsyncOpenAI,
    error: type[openai.APIStatusError],
    meanwhile: tuple[type[openai.APIStatusError], ...] = (),
) -> None:
    """`meanwhile`: Envoy repeats an earlier refusal for up to a second."""

    async def refused() -> bool:
        try:
            await chat(client)
        except error:
            return True
        except meanwhile:
            pass
        return False

    await eventually(refused, within_seconds=30, what=f"refused: {error.__name__}")


async def written_tokens(tenant: Tenant) -> int:
    """Completion tokens since the start of the tenant's engine, from the engine's own metrics."""
    pod = f"/api/v1/namespaces/{tenant.namespace}/pods/{MODEL}-0:8080"
    page = await tenant.kubectl("get", "--raw", f"{pod}/proxy/metrics")
    (count,) = [line.split()[1] for line in page.splitlines() if line.startswith("llamacpp:tokens_predicted_total ")]
    return int(float(count))


async def until_charged(tenant: Tenant, tokens: int) -> None:
    def charged(quota: Object) -> bool:
        return used_tokens(quota) == tokens

    await tenant.until("arksquota", QUOTA, charged, within_seconds=CHARGED_SECONDS, what=f"{tokens} tokens charged")


async def test_tenants_with_the_same_names_do_not_affect_each_other(
    tenants: tuple[Tenant, Tenant], client_of: ClientOf
) -> None:
    red, blue = tenants
    for tenant in tenants:  # app-deployer requests one token of each new replica
        await tenant.until("arksapplication", MODEL, has_phases("warmUpSeconds"), what="the first token")
    before = {tenant: await written_tokens(tenant) for tenant in tenants}
    traffics = {red: traffic_of(red, max_tokens=8), blue: traffic_of(blue, max_tokens=3)}
    async with traffics[red].running(), traffics[blue].running():
        await asyncio.gather(*(traffic.answers(10) for traffic in traffics.values()))
    for tenant, traffic in traffics.items():
        assert [] == traffic.faults()
        assert traffic.usage.completion_tokens == await written_tokens(tenant) - before[tenant]
        assert {"engine": traffic.usage} == await tenant.usage()
        await until_charged(tenant, traffic.usage.prompt_tokens + traffic.usage.completion_tokens)

    # An exhausted budget, a deleted key and the deletion of all resources affect one tenant only.
    red_client, blue_client = client_of(key_of(red)), client_of(key_of(blue))
    await red.apply(a_budget(red, 1))
    await until_refused(red_client, openai.RateLimitError)
    await chat(blue_client)
    await red.kubectl("delete", "arkstoken", "member")
    await until_refused(red_client, openai.AuthenticationError, meanwhile=(openai.RateLimitError,))
    async with traffic_of(blue, max_tokens=2).running() as traffic:
        await red.kubectl("delete", "arks", "--all", "--timeout=240s", within_seconds=250)
        await traffic.answers(10)
    assert [] == traffic.faults()
