"""The commands of docs/operations.md restore lost resources and a lost ledger from a backup."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from arks.kit.testing.kubernetes import kube_binaries
from e2e.support.cluster import Cluster
from e2e.support.tenant import SYSTEM, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(900)]

DOCS = (Path(__file__).parents[2] / "docs/operations.md").read_text()
DUMP = "kubectl -n arks-system exec arks-postgresql-0 -- pg_dump -U arks -Fc arks > ledger.dump"
RESTORE = (
    "kubectl -n arks-system exec -i arks-postgresql-0 -- pg_restore -U arks -d arks --clean --if-exists < ledger.dump"
)
RESOURCES, AGAIN = "kubectl get arks -A -o yaml > arks.yaml", "kubectl create -f arks.yaml"
FLUSH = """
import os, pathlib, redis
password = pathlib.Path(os.environ["ARKS_REDIS_PASSWORD_FILE"]).read_text().strip()
redis.Redis.from_url(os.environ["ARKS_REDIS_URL"], password=password).flushall()
"""
WRITERS = ("token-quota", "usage-meter")
"""Of the ledger."""
LOSS = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"


async def shell(cluster: Cluster, directory: Path, command: str) -> None:
    """Runs a command as typed into a shell. Raises CalledProcessError."""
    path = f"{kube_binaries()}:{os.environ['PATH']}"
    environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
    line = ["bash", "-euo", "pipefail", "-c", command]
    await asyncio.to_thread(subprocess.run, line, cwd=directory, env=environment, check=True, timeout=120)


async def counted_requests(tenant: Tenant) -> int:
    """Number of requests in the ledger."""
    return sum(usage.requests for usage in (await tenant.usage()).values())


async def test_a_backup_restores_resources_and_ledger(cluster: Cluster, tenant: Tenant, tmp_path: Path) -> None:
    for command in (DUMP, RESTORE, RESOURCES, AGAIN):
        assert command in DOCS
    system = cluster.within(SYSTEM)
    deployments = [f"deployment/arks-{program}" for program in WRITERS]
    await tenant.serve("saved")
    traffic = tenant.traffic("saved", streams=True, max_tokens=8, connections=1)
    async with traffic.running():
        await traffic.answers(5)
    used = await tenant.usage()
    await shell(tenant, tmp_path, RESOURCES.replace("-A", f"-n {tenant.namespace}"))
    await shell(tenant, tmp_path, DUMP)

    await tenant.kubectl("delete", "arks", "--all", "--timeout=240s", within_seconds=250)
    await system.kubectl("exec", "deployment/arks-token-quota", "--", "python", "-c", FLUSH)
    await system.kubectl("scale", *deployments, "--replicas=0")
    try:
        of_writers = f"app.kubernetes.io/component in ({','.join(WRITERS)})"
        gone = ("wait", "--for=delete", "pod", "-l", of_writers, "--timeout=180s")
        await system.kubectl(*gone, within_seconds=190)
        await system.kubectl("exec", "arks-postgresql-0", "--", "psql", "-U", "arks", "-d", "arks", "-c", LOSS)
        await shell(tenant, tmp_path, RESTORE)
        await shell(tenant, tmp_path, AGAIN)
    finally:
        await system.kubectl("scale", *deployments, "--replicas=2")
    await system.rolled_out(*deployments)
    await tenant.replicas_ready("saved", 1)
    assert used == await tenant.usage()
    again = tenant.traffic("saved", streams=True, max_tokens=8, connections=1)
    async with again.running():
        await again.answers(2)
    assert [] == again.faults()
    assert await counted_requests(tenant) == sum(usage.requests for usage in used.values()) + again.usage.requests
