"""The manifests and commands of the guides to models and applications work as written, except for the namespace.

The node has no GPU: applications are created, and report what they wait for.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from e2e.support.cluster import Object
from e2e.support.hub import SharedHub
from e2e.support.status import condition, has_condition, in_phase
from e2e.support.tenant import Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
SAMPLES = Path(__file__).parents[2] / "libs/contracts/tests/samples"
REPOSITORY = "Qwen/Qwen2.5-7B-Instruct-1M"
HUB_TOKEN = "hf_of_the_guides"
APPLICATIONS = {"app-qwen": "sglang", "app-qwen-vllm": "vllm"}
READY_SECONDS = 120.0

SGLANG = (
    "python3 -m sglang.launch_server --dist-init-addr $(LWS_LEADER_ADDRESS):20000 --nnodes $(LWS_GROUP_SIZE)"
    " --node-rank $(LWS_WORKER_INDEX)"
)
SGLANG_MODEL = "--model-path {path} --served-model-name qwen-7b --tp 2 --mem-fraction-static 0.7 --enable-metrics"
RAY = "/bin/bash /vllm-workspace/examples/online_serving/multi-node-serving.sh"
VLLM = "python3 -m vllm.entrypoints.openai.api_server --port 8080 --model {path} --served-model-name qwen-7b"
LAUNCH_LINES = {
    "app-qwen-0": f"{SGLANG} --host 0.0.0.0 --port 8080 {SGLANG_MODEL}",
    "app-qwen-0-1": f"{SGLANG} {SGLANG_MODEL}",
    "app-qwen-vllm-0": f"{RAY} leader --ray_cluster_size=$(LWS_GROUP_SIZE); {VLLM} --tensor-parallel-size 2",
    "app-qwen-vllm-0-1": f"{RAY} worker --ray_address=$(LWS_LEADER_ADDRESS)",
}


def sample(name: str, tenant: Tenant) -> str:
    return (SAMPLES / f"{name}.yaml").read_text().replace("namespace: default", f"namespace: {tenant.namespace}")


def private_model(tenant: Tenant) -> str:
    """The manifest without the Secret, which the guide's command creates."""
    return sample("model-private", tenant).partition("---\n")[2]


async def printed(tenant: Tenant, *arguments: str) -> tuple[list[str], list[str]]:
    """Column names, and the cells of the only row."""
    header, row = (await tenant.kubectl("get", *arguments)).splitlines()
    return re.split(r" {2,}", header.strip()), row.split()


def shown(resource: Object) -> list[tuple[str, str, str]]:
    return [(found["type"], found["status"], found["reason"]) for found in resource["status"]["conditions"]]


async def test_the_guide_to_models(tenant: Tenant, hub: SharedHub) -> None:
    hub.add(REPOSITORY, {"config.json": b"{}", "model.safetensors": bytes(100_000)}, token=HUB_TOKEN)
    await tenant.kubectl("create", "secret", "generic", "hf-token", f"--from-literal=HF_TOKEN={HUB_TOKEN}")
    await tenant.kubectl("apply", "-f", "-", stdin=private_model(tenant))
    model = await tenant.until("arksmodel", "qwen-7b", in_phase("Ready"), within_seconds=READY_SECONDS, what="Ready")

    columns, cells = await printed(tenant, "arksmodel", "qwen-7b")
    assert ["NAME", "AGE", "MODEL", "PHASE"] == columns
    assert ["qwen-7b", REPOSITORY, "Ready"] == [cells[0], *cells[2:]]
    assert [
        ("StorageCreated", "True", "CreateSucceeded"),
        ("ModelLoaded", "True", "ModelLoadSucceeded"),
        ("Ready", "True", "Ready"),
    ] == shown(model)
    for type_, words in {
        "StorageCreated": "Create model storage successfully",
        "ModelLoaded": "Load the model successfully",
        "Ready": "The model is ready now",
    }.items():
        assert condition(model, type_)["message"].startswith(words)
    pvc = await tenant.get("persistentvolumeclaim", "qwen-7b")
    assert pvc is not None
    assert ("Bound", "local-path") == (pvc["status"]["phase"], pvc["spec"]["storageClassName"])

    # The public sample has the same name, so it is the same model without a Secret.
    await tenant.kubectl("apply", "-f", "-", stdin=sample("model", tenant))


def engine(pod: Object) -> Any:
    (container,) = pod["spec"]["containers"]
    return container


async def until_pods(tenant: Tenant, application: str) -> list[Object]:
    """Leader and worker pods, as listed in the guide."""
    for name in (f"{application}-0", f"{application}-0-1"):
        await tenant.until("pod", name, lambda _: True, within_seconds=READY_SECONDS, what="made")
    return await tenant.all("pods", f"arks.ai/application={application}")


async def waits_for_gpus(tenant: Tenant, name: str) -> None:
    stuck = has_condition("Ready", "Unschedulable", f"{name}-0", "Insufficient nvidia.com/gpu")
    found = await tenant.until("arksapplication", name, stuck, within_seconds=READY_SECONDS, what="no GPU")
    assert [
        ("Precheck", "True", "PrecheckPass"),
        ("Loaded", "True", "ModelLoadSucceeded"),
        ("Ready", "False", "Unschedulable"),
        ("Progressing", "False", "Unschedulable"),
    ] == shown(found)
    assert "The application passed the pre-checking" == condition(found, "Precheck")["message"]
    assert "The referenced model is loaded" == condition(found, "Loaded")["message"]
    await tenant.until_event("ArksApplication", name, "Warning", "Unschedulable")


async def test_the_guide_to_applications(tenant: Tenant, hub: SharedHub) -> None:
    hub.add(REPOSITORY, {"config.json": b"{}", "model.safetensors": bytes(100_000)})
    manifests = [
        sample("model", tenant),
        *(sample(f"application-{runtime}", tenant) for runtime in APPLICATIONS.values()),
    ]
    everything = "\n---\n".join(manifests)
    await tenant.kubectl("create", "-f", "-", stdin=everything)
    path = f"/models/models/{tenant.namespace}/qwen-7b"

    for name, runtime in APPLICATIONS.items():
        await waits_for_gpus(tenant, name)
        columns, cells = await printed(tenant, "arksapplications", name)
        assert ["NAME", "PHASE", "REPLICAS", "READY", "AGE"] == columns
        assert [name, "Failed", "1", "0"] == cells[:4]
        columns, cells = await printed(tenant, "arksapplications", name, "-owide")
        assert ["NAME", "PHASE", "REPLICAS", "READY", "AGE", "MODEL", "RUNTIME", "DRIVER", "REASON", "WHY"] == columns
        assert ["qwen-7b", runtime] == cells[5:7]

        pods = await until_pods(tenant, name)
        roles = {pod["metadata"]["name"]: pod["metadata"]["labels"]["arks.ai/work-load-role"] for pod in pods}
        assert {f"{name}-0": "leader", f"{name}-0-1": "worker"} == roles
        for pod in pods:
            assert LAUNCH_LINES[pod["metadata"]["name"]].format(path=path) == engine(pod)["command"][-1]
            assert {"nvidia.com/gpu": "1"} == engine(pod)["resources"]["limits"]
            assert "qwen-7b" == pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]

        service = await tenant.get("service", f"arks-application-{name}")
        assert service is not None
        assert [("http", 8080)] == [(port["name"], port["port"]) for port in service["spec"]["ports"]]
        assert "leader" == service["spec"]["selector"]["arks.ai/work-load-role"]

    options = ("--ignore-not-found=true", "--timeout=60s")
    await tenant.kubectl("delete", "-f", "-", *options, stdin=everything, within_seconds=70)
    for name in APPLICATIONS:
        await tenant.until_gone("pod", f"{name}-0")
    await tenant.until_gone("persistentvolumeclaim", "qwen-7b")
    assert "" == await tenant.kubectl("get", "leaderworkersets,services,jobs,arks", "--output=name")
