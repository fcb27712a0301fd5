"""Status and Kubernetes Events report why an application does not serve, until the cause is removed.

All applications are applied at once, so that the kubelet's back-off passes for all of them together.
"""

import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from arks.kit.testing import manifests
from e2e.support.cluster import Cluster
from e2e.support.status import condition, has_condition, in_phase
from e2e.support.tenant import SMALL_MODEL, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]
SPACE = "faults"
NO_IMAGE = "127.0.0.1:9/engines/mistyped:v1"
"""No server listens there."""
STORAGE_CLASS = "arks-e2e-made-later"
HUB: manifests.Document = {"huggingface": {}}
PATIENCE_SECONDS = 240.0


def memory(request: str) -> manifests.Document:
    return {"instanceSpec": {"resources": {"requests": {"cpu": "50m", "memory": request}}}}


WRONG: dict[str, dict[str, Any]] = {
    "mistyped": {"runtimeImage": NO_IMAGE},
    "crashing": {"runtimeCommonArgs": ["--ctx-size", "plenty"]},
    "greedy": memory("100Ti"),
}
"""Applications of the existing model, and the wrong part of their specs."""
RIGHT: dict[str, dict[str, Any]] = {
    "mistyped": {"runtimeImage": None},
    "crashing": {"runtimeCommonArgs": ["--parallel", "2", "--threads", "1"]},
    "greedy": memory("256Mi"),
}


def a_model(name: str, **storage: str) -> manifests.Document:
    kept = manifests.pvc(name, **storage)
    return manifests.model(name, repository=SMALL_MODEL, source=HUB, storage=kept, namespace=SPACE)


def an_application(name: str, model: str, **spec: Any) -> manifests.Document:
    return manifests.application(name, model=model, namespace=SPACE, **(Tenant.SMALL_ENGINE | spec))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tenant(cluster: Cluster, gateway: str) -> AsyncIterator[Tenant]:
    """A tenant with an application for each fault."""
    tenant = Tenant.of(cluster, SPACE, f"{gateway}/v1")
    async with tenant.created():
        await tenant.apply(
            *(an_application(name, "there", **spec) for name, spec in WRONG.items()),
            an_application("unbound", "unbound"),
            an_application("early", "late"),
            a_model("there"),
            a_model("unbound", storage_class=STORAGE_CLASS),
            manifests.endpoint("late", SPACE),
            manifests.token("key", tenant.key, "late", namespace=SPACE),
        )
        yield tenant


async def described(tenant: Tenant, kind: str, name: str) -> str:
    """Output of `kubectl describe` with single blanks."""
    return re.sub(r"\s+", " ", await tenant.kubectl("describe", kind, name))


async def correct(tenant: Tenant, application: str) -> None:
    patch = json.dumps({"spec": RIGHT[application]})
    await tenant.kubectl("patch", "arksapplication", application, "--type=merge", "--patch", patch)
    await tenant.replicas_ready(application, 1)


async def failed(tenant: Tenant, application: str, reason: str, *words: str) -> None:
    """Waits until phase, condition and a Kubernetes Event report the reason."""
    has_reason = has_condition("Ready", reason, *words)
    application_found = await tenant.until(
        "arksapplication",
        application,
        lambda found: has_reason(found) and in_phase("Failed")(found),
        within_seconds=PATIENCE_SECONDS,
        what=f"Failed: {reason}",
    )
    message = condition(application_found, "Ready")["message"]
    await tenant.until_event("ArksApplication", application, "Warning", reason)
    assert re.sub(r"\s+", " ", message) in await described(tenant, "arksapplication", application)


async def test_an_application_applied_before_its_model_runs_once_the_model_is_ready(tenant: Tenant) -> None:
    waits = has_condition("Loaded", "ModelNotExist", "there is no ArksModel late in this namespace")
    await tenant.until("arksapplication", "early", waits, what="waits for its model")
    await tenant.until_event("ArksApplication", "early", "Warning", "ModelNotExist")

    await tenant.apply(a_model("late"))
    await tenant.replicas_ready("early", 1)


async def test_deleting_the_model_of_a_running_application_costs_no_request(tenant: Tenant) -> None:
    await tenant.apply(a_model("late"))
    await tenant.replicas_ready("early", 1)
    async with tenant.traffic("late").running() as traffic:
        await traffic.answers(10)
        steady = time.monotonic()  # a gateway sees that an endpoint is ready a moment after its application
        await tenant.kubectl("delete", "arksmodel", "late", "--timeout=120s")
        gone = has_condition("Loaded", "ModelNotExist", "late", "replicas that have it loaded go on serving")
        early = await tenant.until("arksapplication", "early", gone, what="its model is missed")
        assert in_phase("Running")(early)
        await traffic.answers(10)

        await tenant.apply(a_model("late"))
        again = has_condition("Loaded", "ModelLoadSucceeded")
        await tenant.until("arksapplication", "early", again, within_seconds=PATIENCE_SECONDS, what="its model again")
        await traffic.answers(10)
    assert [] == traffic.faults(steady)


async def test_a_missing_image_is_reported_by_name(tenant: Tenant) -> None:
    await failed(tenant, "mistyped", "ImagePullBackOff", "mistyped-0", NO_IMAGE)
    await correct(tenant, "mistyped")


async def test_an_unsatisfiable_resource_request_is_reported(tenant: Tenant) -> None:
    await failed(tenant, "greedy", "Unschedulable", "greedy-0", "Insufficient memory")
    await correct(tenant, "greedy")


async def test_an_unbound_pvc_is_reported_by_model_and_application(tenant: Tenant) -> None:
    why = f'storageclass.storage.k8s.io "{STORAGE_CLASS}" not found'
    unbound = has_condition("StorageCreated", "BoundFailed", f"PVC {SPACE}/unbound is not bound", why)
    model = await tenant.until("arksmodel", "unbound", unbound, what="the claim's fault")
    assert in_phase("StorageCreating")(model)
    assert condition(model, "StorageCreated")["message"] == condition(model, "Ready")["message"]
    await tenant.until_event("ArksModel", "unbound", "Warning", "BoundFailed")
    waits = has_condition("Loaded", "ModelLoadFailed", "ArksModel unbound", why)
    await tenant.until("arksapplication", "unbound", waits, what="the claim's fault")

    (local,) = [found for found in await tenant.all("storageclasses") if found["metadata"]["name"] == "local-path"]
    storage_class = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": local["provisioner"]}
    try:
        await tenant.apply(storage_class | {"metadata": {"name": STORAGE_CLASS}})
        await tenant.replicas_ready("unbound", 1)
    finally:
        await tenant.kubectl("delete", "storageclass", STORAGE_CLASS, "--ignore-not-found")


async def test_a_crash_loop_is_reported_with_the_last_lines_of_the_log(tenant: Tenant) -> None:
    await failed(tenant, "crashing", "EngineCrashLoop", "crashing-0 ended", "--ctx-size", "plenty")
    await tenant.until_event("ArksApplication", "crashing", "Warning", "EngineEnded")
    await correct(tenant, "crashing")
