"""A private model is downloaded with a hub token from a Secret, and a wrong Secret is reported."""

import base64

import pytest

from arks.kit.testing import manifests
from arks.kit.testing.servers import small_model
from e2e.support.cluster import Object
from e2e.support.hub import SharedHub
from e2e.support.status import has_condition, in_phase
from e2e.support.tenant import SYSTEM, Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
HUB_TOKEN = "hf_BelongsToNobodyElse"  # of the tests' hub
WRONG_TOKEN = "hf_MistypedByItsOwner"  # of nothing
REPOSITORY = "acme/private"
PATIENCE_SECONDS = 240.0
"""A refused token is retried after half a minute: model-manager cannot see that its Secret was corrected."""


def a_secret(name: str, **values: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


async def until_reported(tenant: Tenant, model: str, reason: str, *words: str) -> None:
    await tenant.until(
        "arksmodel", model, has_condition("Ready", reason, *words), within_seconds=PATIENCE_SECONDS, what=reason
    )
    await tenant.until_event("ArksModel", model, "Warning", reason)


async def everything_written(tenant: Tenant) -> str:
    """Everything about the models that a user without the right to Secrets can read."""
    kinds = "pods,jobs,events,persistentvolumeclaims,leaderworkersets,statefulsets,configmaps,arks"
    logs = ("logs", "--all-containers", "--tail=-1", "--prefix", "--selector")
    system, services = tenant.within(SYSTEM), "app.kubernetes.io/component in (model-manager, app-deployer)"
    return "\n".join(
        [
            await tenant.kubectl("get", kinds, "-o", "yaml"),
            await tenant.kubectl(*logs, "arks.ai/model"),
            await system.kubectl(*logs, services),
        ]
    )


async def test_a_private_model_is_downloaded_once_its_secret_is_right(tenant: Tenant, hub: SharedHub) -> None:
    hub.add(REPOSITORY, {"config.json": b"{}", "model.gguf": small_model().read_bytes()}, token=HUB_TOKEN)
    hub.add("acme/gated", {"config.json": b"{}"}, token=HUB_TOKEN, gated=True)
    spellings = {"missing": {"name": "late"}, "mistyped": "mistyped"}
    repositories = {"missing": REPOSITORY, "mistyped": "acme/gated"}
    await tenant.apply(
        a_secret("mistyped", HF_TOKEN=WRONG_TOKEN),
        *(
            manifests.model(
                name,
                repository=repositories[name],
                source={"huggingface": {"tokenSecretRef": reference}},
                storage=manifests.pvc(name),
                namespace=tenant.namespace,
            )
            for name, reference in spellings.items()
        ),
        manifests.application(
            "private", model="missing", namespace=tenant.namespace, servedModelName="private", **Tenant.SMALL_ENGINE
        ),
    )

    refused = "the token of source.huggingface.tokenSecretRef gives no access to it"
    await until_reported(tenant, "mistyped", "ModelLoadFailed", "acme/gated is gated on", refused, "; next retry at")
    await tenant.apply(a_secret("mistyped", HF_TOKEN=HUB_TOKEN))

    await until_reported(tenant, "missing", "CreateWorkerPodFailed", 'secret "late" not found')
    await tenant.apply(a_secret("late", TOKEN=HUB_TOKEN))
    await until_reported(tenant, "missing", "CreateWorkerPodFailed", "couldn't find key HF_TOKEN in Secret", "late")
    waits = has_condition("Loaded", "ModelLoadFailed", "couldn't find key HF_TOKEN")
    await tenant.until("arksapplication", "private", waits, what="waits for its model")
    await tenant.apply(a_secret("late", HF_TOKEN=HUB_TOKEN))

    for model in spellings:
        await tenant.until("arksmodel", model, in_phase("Ready"), within_seconds=PATIENCE_SECONDS, what="Ready")
    await tenant.replicas_ready("private", 1)

    written = await everything_written(tenant)
    assert REPOSITORY in written
    secrets = [HUB_TOKEN, WRONG_TOKEN]
    secrets += [base64.b64encode(secret.encode()).decode().rstrip("=") for secret in secrets]
    assert [] == [secret for secret in secrets if secret in written]
