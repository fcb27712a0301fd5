"""The services' requests to the API server, counted in its audit log."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from arks.kit.testing.wait import eventually
from bench.audit import AuditLog, Call
from bench.scale.cluster import EVERYTHING, Cluster, Tenant, namespaces
from bench.scale.platform import platform

pytestmark = [pytest.mark.kube, pytest.mark.timeout(600)]
FEW, ALL, NAMESPACES = 4, 16, 4
READY_SECONDS = 180.0
OWN = {
    "model-manager": {
        "arksmodels.arks.ai",
        *("persistentvolumeclaims", "jobs.batch", "pods", "events"),
        *("arksapplications.arks.ai", "arksdisaggregatedapplications.arks.ai"),  # where they run
    },
    "app-deployer": {
        "arksapplications.arks.ai",
        "arksdisaggregatedapplications.arks.ai",
        "leaderworkersets.leaderworkerset.x-k8s.io",
        "deployments.apps",
        "services",
        "pods",
        "serviceaccounts",  # of routers, as are the roles
        "roles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
        "statefulsets.apps",  # LeaderWorkerSet takes over any of the names that it needs, so these are checked first
    },
    "metrics": {"arksautoscalers.arks.ai"},
    "endpoint-router": {"arksendpoints.arks.ai"},
    "token-quota": {"arkstokens.arks.ai", "arksquotas.arks.ai"},
    "usage-meter": {"arkstokens.arks.ai", "arksquotas.arks.ai"},
}
"""Resources that a service may list and watch: its own, and those that it creates for them."""
READ_VERBS = {"list", "watch"}
POLLED = "secrets"
"""token-quota polls each Secret as long as its token exists."""


async def added(cluster: Cluster, tenants: Sequence[Tenant]) -> None:
    """Creates the tenants and waits until all their resources are ready."""
    await cluster.create([created for tenant in tenants for created in tenant.objects(secrets=True)])
    number = tenants[-1].number + 1
    for kind, of_each, condition in EVERYTHING:
        await cluster.until(kind, of_each * number, condition, READY_SECONDS)


async def settled(audit: AuditLog) -> Counter[Call]:
    """All requests since the previous call. Waits until no service writes for five seconds."""
    seen: Counter[Call] = Counter()

    def written() -> bool:
        calls = of_services(audit.new_calls())
        seen.update(calls)
        return any(call.verb not in READ_VERBS for call in calls)

    quiet = 0
    while quiet < 5:
        quiet = 0 if written() else quiet + 1
        await asyncio.sleep(1.0)  # in which something may be written
    return seen


def of_services(calls: Counter[Call]) -> Counter[Call]:
    """Calls of the services, without polls and renewals of leases, which never end."""
    timed = ("leases.coordination.k8s.io", POLLED)
    own = {call: n for call, n in calls.items() if call.user.startswith("arks-") and call.resource not in timed}
    return Counter(own)


async def test_a_tenant_costs_no_more_requests_among_many_and_services_list_only_their_own_resources(
    tmp_path: Path,
) -> None:
    async with platform(tmp_path, ALL) as (cluster, services, _):
        await cluster.create(namespaces(NAMESPACES))
        audit = AuditLog(cluster.server.audit_log)
        await services.start()
        await eventually(services.all_ready, within_seconds=READY_SECONDS, what="all services are ready")
        tenants = [Tenant(number, NAMESPACES) for number in range(ALL)]
        all_calls = await settled(audit)
        requests = []
        for part in (tenants[:FEW], tenants[FEW:]):
            await added(cluster, part)
            calls = await settled(audit)
            all_calls += calls
            requests.append(sum(n for call, n in calls.items() if call.verb not in READ_VERBS) / len(part))
        few, many = requests
        assert many <= 1.2 * few, (few, many)
        for service, own in OWN.items():
            reads = [call for call in all_calls if call.user == f"arks-{service}" and call.verb in READ_VERBS]
            assert own >= {call.resource for call in reads}, service
