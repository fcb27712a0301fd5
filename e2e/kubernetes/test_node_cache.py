"""A node keeps a copy of a model, an engine loads it from there, and requests are answered when it is gone."""

import pytest

from arks.contracts.names import CACHE_PVC, cache_label
from arks.kit.testing import manifests
from e2e.support.status import has_condition, has_phases
from e2e.support.tenant import SMALL_MODEL, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
PHASES = {"prepareSeconds", "imageSeconds", "readAheadSeconds", "loadSeconds", "warmUpSeconds"}


async def loaded_from(tenant: Tenant) -> str:
    """The first line of the engine's log that shows from where its model is."""
    log = await tenant.kubectl("logs", "local-0", "--container", "leader")
    return next(line for line in log.splitlines() if line.startswith("model from "))


async def test_an_engine_loads_the_copy_of_its_node(tenant: Tenant) -> None:
    await tenant.apply(
        manifests.model(
            "local",
            repository=SMALL_MODEL,
            source={"huggingface": {}},
            storage=manifests.pvc("local"),
            namespace=tenant.namespace,
            cache={},
        )
    )
    await tenant.until("arksmodel", "local", has_condition("Cached", "Copied"), within_seconds=240, what="copied")
    space = tenant.namespace
    await tenant.apply(
        manifests.application("local", model="local", namespace=space, loading="auto", **Tenant.SMALL_ENGINE),
        manifests.endpoint("local", space),
        manifests.token("key", tenant.key, "local", namespace=space),
    )
    await tenant.replicas_ready("local", 1)
    assert "model from cache" == await loaded_from(tenant)
    assert "MB in" in await tenant.kubectl("logs", "local-0", "--container", "read-ahead")
    await tenant.until("arksapplication", "local", has_phases(*PHASES), what="the time of each phase of its start")
    async with tenant.traffic("local").running() as traffic:
        await traffic.answers()
    assert [] == traffic.faults()
    (node,) = await tenant.all("nodes")
    assert cache_label(tenant.namespace, "local") in node["metadata"]["labels"]
    claim = await tenant.get("persistentvolumeclaim", CACHE_PVC)
    assert claim is not None
    assert "Bound" == claim["status"]["phase"]
