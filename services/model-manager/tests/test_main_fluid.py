"""Models in Datasets of Fluid: the whole service with definitions that have Fluid's fields; the test is Fluid."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksModelStatus, ModelPhase
from arks.kit.errors import Invalid
from arks.kit.key import Key
from arks.kit.kube.kinds import Kind
from arks.kit.testing.helm import helm
from arks.kit.testing.servers import nats_server
from arks.kit.testing.wait import eventually
from arks.model_manager.adapters.kubernetes.fluid import DATA_LOAD, DATASET
from arks.model_manager.adapters.kubernetes.objects import PVC
from arks.model_manager.domain import decision
from arks.model_manager.testing.cluster import Cluster, cluster
from arks.model_manager.testing.kube_harness import MODEL, KubeService, account, kube_service, make_namespace
from arks.model_manager.testing.storage_contract import PVC_SPEC

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
CHARTS = Path(__file__).parents[3] / "charts"
DEFINITION = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False)
RUNTIME = Kind("data.fluid.io", "v1alpha1", "JuiceFSRuntime", "juicefsruntimes")
MOUNTS = [{"mountPoint": "juicefs:///", "name": "models"}]
FLUID: dict[str, Any] = {
    "mounts": MOUNTS,
    "runtime": {"kind": "JuiceFSRuntime", "spec": {"replicas": 2}},
    "load": True,
}
TEXT, COUNT, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
MESSAGES = {"type": "array", "items": {"type": "object", "properties": {"type": TEXT, "message": TEXT}}}
PHASE = {"type": "object", "properties": {"phase": TEXT, "conditions": MESSAGES}}


def _list(**fields: Any) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "object", "properties": fields}}


SPECS: dict[Kind, dict[str, Any]] = {
    DATASET: {
        "mounts": _list(mountPoint=TEXT, name=TEXT, path=TEXT, readOnly=FLAG),
        "accessModes": {"type": "array", "items": TEXT},
    },
    RUNTIME: {"replicas": COUNT},
    DATA_LOAD: {
        "dataset": {"type": "object", "properties": {"name": TEXT, "namespace": TEXT}},
        "loadMetadata": FLAG,
        "target": _list(path=TEXT, replicas=COUNT),
    },
}
"""The fields that Arks writes, with the types that Fluid's definitions give them."""


def definition(kind: Kind, spec: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}, "status": PHASE}}
    version = {"name": kind.version, "served": True, "storage": True, "subresources": {"status": {}}}
    return {
        "apiVersion": DEFINITION.api_version,
        "kind": DEFINITION.kind,
        "metadata": {"name": f"{kind.plural}.{kind.group}", "namespace": ""},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {"kind": kind.kind, "plural": kind.plural},
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kube(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path_factory.mktemp("kube"), CHARTS / "arks-crds/templates") as kube:
        yield kube


@pytest.fixture(scope="module", autouse=True)
def soon() -> Iterator[None]:
    """Fluid's objects are queried more often than every 5 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decision, "STORAGE_RETRY_SECONDS", 0.2)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(kube: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KubeService]:
    directory = tmp_path_factory.mktemp("service")
    rendered = directory / "chart.yaml"
    values = ["--set", "fluid.enabled=true,secrets.generate=job"]
    rendered.write_text(helm("template", "arks", str(CHARTS / "arks"), *values))
    await make_namespace(kube, "team-a")
    async with (
        nats_server(directory) as bus,
        kube_service(kube, await account(kube, rendered), bus, "team-a") as service,
    ):
        yield service


def explains(*words: str) -> Any:
    def holds(status: ArksModelStatus) -> bool:
        condition = find_condition(status.conditions, "Ready")
        return condition is not None and all(word in condition.message for word in words)

    return holds


async def test_without_fluid_the_model_names_what_is_missing(service: KubeService) -> None:
    await service.apply("early", storage={"fluid": FLUID, "subPath": "models/tiny"})
    status = await service.reaches("early", explains("JuiceFSRuntime", "Fluid is not installed"))
    assert ModelPhase.FAILED is status.phase
    await service.delete("early")


async def test_a_model_is_ready_once_its_dataset_is_bound_and_loaded(kube: Cluster, service: KubeService) -> None:
    for kind, spec in SPECS.items():
        await kube.api.create(DEFINITION, definition(kind, spec))
    await kube.server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")

    async def reports(kind: Kind, phase: str, message: str = "") -> None:
        status = {"phase": phase, "conditions": [{"type": "Phase", "message": message}] if message else []}
        await kube.api.merge(kind, Key("team-a", "tiny"), {"status": status}, subresource="status")

    async def exists(kind: Kind) -> bool:
        return await kube.api.get(kind, Key("team-a", "tiny")) is not None

    await service.apply("tiny", storage={"fluid": FLUID, "subPath": "models/tiny"})
    await eventually(lambda: exists(RUNTIME), what="the Runtime")
    dataset, runtime = await service.get(DATASET, "tiny"), await service.get(RUNTIME, "tiny")
    assert (MOUNTS, 2) == (dataset["spec"]["mounts"], runtime["spec"]["replicas"])
    model = await service.reaches("tiny", explains("has no phase yet"))
    assert ModelPhase.STORAGE_CREATING is model.phase
    assert not await exists(DATA_LOAD)

    await reports(DATASET, "NotBound", "no worker is ready")
    await service.reaches("tiny", explains("is NotBound: no worker is ready"))
    await reports(DATASET, "Bound")
    await eventually(lambda: exists(DATA_LOAD), what="the DataLoad")
    load = await service.get(DATA_LOAD, "tiny")
    assert ("tiny", [{"path": "/models/tiny"}]) == (load["spec"]["dataset"]["name"], load["spec"]["target"])
    await reports(DATA_LOAD, "Failed", "no such path")
    await service.reaches("tiny", explains("DataLoad", "Failed: no such path"))
    await reports(DATA_LOAD, "Complete")
    await service.reaches("tiny", explains("Fluid has not made PVC"))
    await service.create(PVC, "tiny", spec=PVC_SPEC)
    await eventually(lambda: Key("team-a", "tiny") in kube.kubelet.mounted, what="the look into the PVC")
    weights = kube.kubelet.mounted[Key("team-a", "tiny")] / "models/tiny"
    weights.mkdir(parents=True)
    (weights / "tiny.gguf").write_bytes(b"GGUF" + bytes(1000))
    status = await service.reaches("tiny", ModelPhase.READY)
    assert "/models/models/tiny/tiny.gguf" == status.path
    assert "tiny" == (await service.fact("tiny", lambda fact: fact.ready)).claim_name


async def test_a_changed_spec_changes_the_runtime(kube: Cluster, service: KubeService) -> None:
    changed = {**FLUID, "runtime": {"kind": "JuiceFSRuntime", "spec": {"replicas": 3}}}
    await service.apply("tiny", storage={"fluid": changed, "subPath": "models/tiny"})

    async def replicas() -> bool:
        return bool((await service.get(RUNTIME, "tiny"))["spec"]["replicas"] == 3)

    await eventually(replicas, what="3 replicas")
    await service.reaches("tiny", ModelPhase.READY)


async def test_the_objects_of_fluid_belong_to_the_model(service: KubeService) -> None:
    """So Kubernetes deletes them with it."""
    model = await service.get(MODEL, "tiny")
    for kind in SPECS:
        (owner,) = (await service.get(kind, "tiny"))["metadata"]["ownerReferences"]
        assert (model["metadata"]["uid"], True) == (owner["uid"], owner["controller"])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"storage": {"fluid": FLUID}}, "fluid needs subPath"),
        ({"storage": {"fluid": FLUID, "subPath": "a", "pvc": {"spec": PVC_SPEC}}}, "give pvc or fluid, not both"),
        ({"storage": {"fluid": FLUID, "subPath": "a"}, "source": {"huggingface": {}}}, "omit source"),
    ],
)
async def test_what_fluid_cannot_do_is_refused(spec: dict[str, Any], words: str, service: KubeService) -> None:
    with pytest.raises(Invalid, match=words):
        await service.apply("refused", **spec)
