"""An existing PVC is filled once, serves two applications, and outlives them."""

import pytest

from arks.kit.testing import manifests
from arks.kit.testing.servers import small_model
from e2e.support.cluster import Object
from e2e.support.hub import SharedHub
from e2e.support.status import has_condition, in_phase
from e2e.support.tenant import Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
PVC = "weights"
REPOSITORY, WEIGHTS = "acme/shared", "shared.gguf"
READY_SECONDS = 240.0


def a_pvc() -> Object:
    spec = manifests.pvc(PVC)["pvc"]["spec"]
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": PVC}, "spec": spec}


async def test_an_existing_pvc_serves_two_applications_and_outlives_them(tenant: Tenant, hub: SharedHub) -> None:
    hub.add(REPOSITORY, {"config.json": b"{}", WEIGHTS: small_model().read_bytes()})
    space = tenant.namespace
    storage = manifests.pvc(PVC) | {"subPath": "shared/smollm2"}
    applications = ["first", "second"]
    await tenant.apply(
        a_pvc(),
        manifests.model(
            "downloaded", repository=REPOSITORY, source={"huggingface": {}}, storage=storage, namespace=space
        ),
        manifests.application(
            "first", model="downloaded", servedModelName="shared", namespace=space, **Tenant.SMALL_ENGINE
        ),
        manifests.endpoint("shared", space),
        manifests.token("key", tenant.key, "shared", namespace=space),
    )
    await tenant.until("arksmodel", "downloaded", in_phase("Ready"), within_seconds=READY_SECONDS, what="Ready")
    served_bytes = hub.served_bytes(WEIGHTS)

    # A model without a source uses the files that are now in the PVC.
    prepared = manifests.model("prepared", repository=REPOSITORY, source={}, storage=storage, namespace=space)
    del prepared["spec"]["source"]
    second = manifests.application(
        "second", model="prepared", servedModelName="shared", namespace=space, **Tenant.SMALL_ENGINE
    )
    await tenant.apply(prepared, second)
    found = await tenant.until("arksmodel", "prepared", in_phase("Ready"), within_seconds=READY_SECONDS, what="Ready")
    assert f"/models/shared/smollm2/{WEIGHTS}" == found["status"]["path"]
    assert served_bytes == hub.served_bytes(WEIGHTS)
    for name in applications:
        await tenant.replicas_ready(name, 1)

    both = has_condition("Ready", "Routed", "first (1 of 1 replicas ready", "second (1 of 1 replicas ready")
    await tenant.until("arksendpoint", "shared", both, what="both are routed to")
    async with tenant.traffic("shared").running() as traffic:
        await tenant.kubectl("delete", "arksapplication", "first", "--timeout=180s", within_seconds=190)
        await tenant.kubectl("delete", "arksmodel", "downloaded", "--timeout=180s", within_seconds=190)
        await tenant.until_gone("pod", "first-0")
        await traffic.answers(10)
    assert [] == traffic.faults()

    await tenant.kubectl("delete", "arksapplication/second", "arksmodel/prepared", "--timeout=180s", within_seconds=190)
    await tenant.until_gone("pod", "second-0")
    pvc = await tenant.get("persistentvolumeclaim", PVC)
    assert pvc is not None
    assert ("Bound", False) == (pvc["status"]["phase"], "deletionTimestamp" in pvc["metadata"])
    assert "ownerReferences" not in pvc["metadata"]
