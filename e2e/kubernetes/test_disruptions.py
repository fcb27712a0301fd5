"""Deleted pods and a restarted kubelet cost clients no request under load, and charges stay exact."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import zip_longest

import pytest
import pytest_asyncio

from arks.kit.testing.wait import eventually
from e2e.support.cluster import Cluster, Object
from e2e.support.tenant import SYSTEM, Tenant
from e2e.support.traffic import CUT, OK, Traffic

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]
MODEL, REPLICAS, CONNECTIONS = "steady", 2, 3
DELETED_SECONDS = 240.0
METRICS_PAGE = f"/api/v1/namespaces/{SYSTEM}/pods/{{pod}}:8081/proxy/metrics"


@dataclass(frozen=True)
class Loaded:
    tenant: Tenant
    traffic: Traffic

    async def nothing_missing(self) -> None:
        """The ledger comes to equal the usage that clients received, to the token; cut streams are charged as well."""
        await self.tenant.until_charged(self.traffic.usage, self.traffic.since()[CUT])

    async def nothing_added(self) -> None:
        """The same once every lease and reservation of all disruptions is over."""
        usage = await self.tenant.usage()
        assert self.traffic.usage == usage.pop("engine")
        assert self.traffic.since()[CUT] == sum(charged.requests for charged in usage.values())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def loaded(cluster: Cluster, gateway: str) -> AsyncIterator[Loaded]:
    """An application of two replicas, and traffic for each disruption."""
    tenant = Tenant.of(cluster, "disrupted", f"{gateway}/v1")
    async with tenant.created():
        await tenant.serve(MODEL, replicas=REPLICAS)
        loaded = Loaded(tenant, tenant.traffic(MODEL, connections=CONNECTIONS, max_tokens=16, ignore_eos=True))
        yield loaded
        await loaded.nothing_added()


async def names_of(component: str, within: Cluster) -> list[str]:
    return [pod["metadata"]["name"] for pod in await within.all("pods", f"app.kubernetes.io/component={component}")]


async def delete(pod: str, within: Cluster, *options: str) -> None:
    await within.kubectl("delete", "pod", pod, *options, within_seconds=DELETED_SECONDS)


@pytest.mark.parametrize(
    "components",
    [("model-manager", "app-deployer", "metrics"), ("endpoint-router",), ("token-quota", "usage-meter"), ("gateway",)],
    ids="-".join,
)
async def test_deleting_each_pod_of_services_costs_no_request(
    loaded: Loaded, cluster: Cluster, components: tuple[str, ...]
) -> None:
    """A pod of each service at a time. Services that are not on the path of requests lose theirs together."""
    system = cluster.within(SYSTEM)
    async with loaded.traffic.running() as traffic:
        for pods in zip_longest(*[await names_of(component, system) for component in components]):
            await asyncio.gather(*(delete(pod, system) for pod in pods if pod is not None))
            await system.rolled_out(*(f"deployment/arks-{component}" for component in components))
            await traffic.answers()
    assert [] == loaded.traffic.faults()
    await loaded.nothing_missing()


async def test_replicas_of_metrics_divide_the_applications_after_they_were_deleted(
    loaded: Loaded, cluster: Cluster
) -> None:
    system = cluster.within(SYSTEM)
    pods = await names_of("metrics", system)

    async def divided() -> bool:
        pages = [await system.kubectl("get", "--raw", METRICS_PAGE.format(pod=pod)) for pod in pods]
        applications = await system.kubectl("get", "arksapplications", "--all-namespaces", "--output", "name")
        read = sum(gauge(page, "arks_metrics_applications_read") for page in pages)
        members = {gauge(page, "arks_metrics_members") for page in pages}
        return (members, read) == ({len(pods)}, len(applications.splitlines()))

    assert len(pods) > 1
    await eventually(divided, within_seconds=60, every_seconds=1, what="each application read by one replica")


def gauge(page: str, name: str) -> float:
    (value,) = [line.split()[1] for line in page.splitlines() if line.startswith(f"{name} ")]
    return float(value)


@pytest.mark.parametrize("server", ["nats", "redis", "postgresql"])
async def test_deleting_a_server_costs_no_request(loaded: Loaded, cluster: Cluster, server: str) -> None:
    system = cluster.within(SYSTEM)
    async with loaded.traffic.running() as traffic:
        await delete(f"arks-{server}-0", system)
        await traffic.answers()
        await system.rolled_out(f"statefulset/arks-{server}")
        await traffic.answers()
    assert [] == loaded.traffic.faults()
    await loaded.nothing_missing()


async def test_a_restart_of_the_kubelet_costs_no_request(loaded: Loaded, restart_kubelet: Callable[[], None]) -> None:
    async with loaded.traffic.running() as traffic:
        restart_kubelet()
        await traffic.answers(100)
    assert [] == loaded.traffic.faults()
    await loaded.nothing_missing()


async def test_a_deleted_engine_finishes_its_streams_first(loaded: Loaded) -> None:
    async with loaded.traffic.running() as traffic:
        await delete(f"{MODEL}-0", loaded.tenant)
        await loaded.tenant.replicas_ready(MODEL, REPLICAS)
        await traffic.answers()
    assert [] == loaded.traffic.faults()
    await loaded.nothing_missing()


async def test_a_killed_engine_cuts_only_its_own_streams(loaded: Loaded) -> None:
    def other(pod: Object) -> bool:
        return bool(pod["metadata"]["uid"] != old["metadata"]["uid"])

    async with loaded.traffic.running() as traffic:
        found = await loaded.tenant.get("pod", f"{MODEL}-0")
        assert found is not None
        old = found
        await delete(f"{MODEL}-0", loaded.tenant, "--grace-period=0", "--force")
        await loaded.tenant.until("pod", f"{MODEL}-0", other, what="another pod")
        await loaded.tenant.replicas_ready(MODEL, REPLICAS)
        await traffic.answers()
    outcomes = loaded.traffic.since()
    assert set(outcomes) <= {OK, CUT}, loaded.traffic.faults()
    assert outcomes[CUT] <= CONNECTIONS
    await loaded.nothing_missing()
