"""What the services ask of the API server, counted by its audit log."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from arks.kit.testing.audit import AuditLog, Call
from arks.kit.testing.wait import eventually
from bench.scale.cluster import EVERYTHING, Cluster, Tenant, namespaces
from bench.scale.platform import platform

pytestmark = [pytest.mark.kube, pytest.mark.timeout(600)]
FEW, ALL, NAMESPACES = 4, 16, 4
READY_SECONDS = 180.0
OWN = {
    "model-manager": {"arksmodels.arks.ai", "persistentvolumeclaims", "jobs.batch", "pods", "events"},
    "app-deployer": {
        "arksapplications.arks.ai",
        "arksdisaggregatedapplications.arks.ai",
        "leaderworkersets.leaderworkerset.x-k8s.io",
        "deployments.apps",
        "services",
        "pods",
    },
    "metrics": set[str](),
    "endpoint-router": {"arksendpoints.arks.ai"},
    "token-quota": {"arkstokens.arks.ai", "arksquotas.arks.ai"},
}
"""What a service lists and watches: its own resources, and what it makes of them."""
LOOKS = {"list", "watch"}
POLLED = "secrets"
"""token-quota reads each Secret again every now and then, as long as its token exists."""


async def added(cluster: Cluster, tenants: Sequence[Tenant]) -> None:
    """They exist, and all that belongs to them is ready."""
    await cluster.create([one for tenant in tenants for one in tenant.objects(secrets=True)])
    number = tenants[-1].number + 1
    for kind, of_each, condition in EVERYTHING:
        await cluster.until(kind, of_each * number, condition, READY_SECONDS)


async def settled(audit: AuditLog) -> Counter[Call]:
    """All requests since the last look, once no service writes any more."""
    seen: Counter[Call] = Counter()

    def written() -> bool:
        news = ours(audit.news())
        seen.update(news)
        return any(call.verb not in LOOKS for call in news)

    quiet = 0
    while quiet < 5:
        quiet = 0 if written() else quiet + 1
        await asyncio.sleep(1.0)  # in which something may be written
    return seen


def ours(calls: Counter[Call]) -> Counter[Call]:
    """Of the services; leases are renewed for ever."""
    timed = ("leases.coordination.k8s.io", POLLED)
    return Counter({one: n for one, n in calls.items() if one.user.startswith("arks-") and one.resource not in timed})


async def test_a_tenant_among_many_costs_no_more_requests_than_the_first_and_nobody_looks_at_what_is_not_its_own(
    tmp_path: Path,
) -> None:
    async with platform(tmp_path, ALL) as (cluster, services, _):
        await cluster.create(namespaces(NAMESPACES))
        audit = AuditLog(cluster.server.audit_log)
        await services.start()
        await eventually(services.all_ready, within_seconds=READY_SECONDS, what="all services are ready")
        tenants = [Tenant(number, NAMESPACES) for number in range(ALL)]
        looked = await settled(audit)
        requests = []
        for part in (tenants[:FEW], tenants[FEW:]):
            await added(cluster, part)
            calls = await settled(audit)
            looked += calls
            requests.append(sum(n for one, n in calls.items() if one.verb not in LOOKS) / len(part))
        few, many = requests
        assert many <= 1.2 * few, (few, many)
        for service, own in OWN.items():
            assert own >= {one.resource for one in looked if one.user == f"arks-{service}" and one.verb in LOOKS}, (
                service
            )
