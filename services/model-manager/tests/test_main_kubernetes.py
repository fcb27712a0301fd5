"""The whole service on Kubernetes, through the API server."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from arks.contracts.conditions import find_condition
from arks.contracts.resources import ArksModelStatus, ModelPhase
from arks.kit.key import Key
from arks.kit.kube.kinds import EVENT, POD, SECRET
from arks.kit.testing.servers import Server, nats_server
from arks.kit.testing.wait import eventually
from arks.model_manager.adapters.kubernetes.objects import JOB, PVC
from arks.model_manager.testing.cluster import CLASS, Cluster, cluster
from arks.model_manager.testing.hub import Hub, hub_server
from arks.model_manager.testing.kube_harness import MODEL, KubeService, account, kube_service, make_namespace
from arks.model_manager.testing.kubelet import WORKER_IMAGE
from arks.model_manager.testing.storage_contract import PVC_SPEC

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
CRDS = Path(__file__).parents[3] / "charts/arks-crds/templates"
CHART = Path(__file__).parents[3] / "charts/tests/golden/default.yaml"
WEIGHTS = b"GGUF" + os.urandom(1_500_000)
FILES = {"README.md": b"# Tiny", "tiny.gguf": WEIGHTS}
TOKEN = "hf_a_token_that_no_other_may_see"
STORAGE = {"pvc": {"name": "weights", "spec": PVC_SPEC}}
_numbers = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kube(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path_factory.mktemp("kube"), CRDS) as kube:
        yield kube


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kubeconfig(kube: Cluster) -> Path:
    return await account(kube, CHART)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def hub() -> AsyncIterator[Hub]:
    async with hub_server() as hub:
        hub.add("acme/tiny", FILES)
        yield hub


@pytest_asyncio.fixture(loop_scope="module")
async def namespace(kube: Cluster) -> str:
    name = f"team-{next(_numbers)}"
    await make_namespace(kube, name)
    return name


@pytest_asyncio.fixture(loop_scope="module")
async def service(kube: Cluster, kubeconfig: Path, bus: Server, hub: Hub, namespace: str) -> AsyncIterator[KubeService]:
    async with kube_service(kube, kubeconfig, bus, namespace, hub_endpoint=hub.url) as service:
        yield service
    kube.kubelet.images = {WORKER_IMAGE}
    kube.kubelet.memory_is_short = False


def reason_and_message(status: ArksModelStatus, type_: str = "Ready") -> tuple[str, str]:
    condition = find_condition(status.conditions, type_)
    assert condition is not None
    return condition.reason, condition.message


def explains(*words: str, type_: str = "Ready") -> Callable[[ArksModelStatus], bool]:
    """A condition on a status: its message holds these words."""

    def holds(status: ArksModelStatus) -> bool:
        reason, message = reason_and_message(status, type_)
        return all(word in f"{reason} {message}" for word in words)

    return holds


async def test_a_model_is_downloaded_into_its_own_pvc(service: KubeService) -> None:
    await service.apply("tiny", source={"huggingface": {}}, storage={"pvc": {"spec": PVC_SPEC}})
    status = await service.reaches("tiny", ModelPhase.READY)
    conditions = {condition.type: (str(condition.status), condition.reason) for condition in status.conditions}
    expected = {"StorageCreated": "CreateSucceeded", "ModelLoaded": "ModelLoadSucceeded", "Ready": "Ready"}
    assert {type_: ("True", reason) for type_, reason in expected.items()} == conditions
    path = f"/models/models/{service.namespace}/tiny/tiny.gguf"
    assert (path, 2, len(WEIGHTS) + 6) == (status.path, status.file_count, status.size_bytes)
    fact = await service.fact("tiny", lambda fact: fact.ready)
    assert (path, "tiny") == (fact.path, fact.claim_name)
    pvc, job = await service.get(PVC, "tiny"), await service.get(JOB, "arks-worker-tiny")
    model = await service.get(MODEL, "tiny")
    for made in (pvc, job):
        assert {"arks.ai/model": "tiny"} == made["metadata"]["labels"]
        assert [model["metadata"]["uid"]] == [owner["uid"] for owner in made["metadata"]["ownerReferences"]]

    async def published() -> bool:
        events = (await service.cluster.api.list(EVENT, service.namespace))[0]
        ours = {event["reason"] for event in events if event["involvedObject"]["kind"] == "ArksModel"}
        return {"ModelLoading", "Ready"} <= ours

    await eventually(published, what="the Events")


async def test_kubectl_shows_model_and_phase(service: KubeService) -> None:
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", ModelPhase.READY)
    printed = await service.cluster.server.kubectl("get", "arksmodel", "tiny", "-n", service.namespace)
    header, row = (line.split() for line in printed.splitlines())
    assert ["NAME", "AGE", "MODEL", "PHASE"] == header
    assert ("tiny", "acme/tiny", "Ready") == (row[0], row[2], row[3])


async def test_progress_is_seen_while_it_downloads(service: KubeService, hub: Hub) -> None:
    hub.hold = asyncio.Event()
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    status = await service.reaches("tiny", lambda status: bool(status.progress and status.progress.done_bytes > 9))
    assert status.progress is not None
    assert len(WEIGHTS) + 6 == status.progress.total_bytes
    assert ModelPhase.MODEL_LOADING is status.phase
    hub.hold.set()
    await service.reaches("tiny", ModelPhase.READY)


async def test_a_ready_model_costs_no_requests(service: KubeService) -> None:
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", ModelPhase.READY)
    await service.fact("tiny", lambda fact: fact.ready)
    assert sum(service.requests().values()) < 27  # lists and watches of six kinds are 12 of them
    numbers = itertools.count()

    async def quiet() -> bool:
        """Changes that mean nothing to us cost nothing, once all that followed from the download is done."""
        before = service.requests()
        for _ in range(20):
            last = str(next(numbers))
            await service.cluster.api.merge(
                MODEL, Key(service.namespace, "tiny"), {"metadata": {"annotations": {"touched": last}}}
            )
        await eventually(lambda: _seen(service, "tiny", last))
        return before == service.requests()

    await eventually(quiet, within_seconds=90, what="changes without a request")


def _seen(service: KubeService, name: str, touched: str) -> bool:
    model = service.home.models.cache.get(Key(service.namespace, name))
    return model is not None and model.metadata.annotations.get("touched") == touched


async def test_a_missing_secret_is_named_and_its_creation_is_enough(service: KubeService, hub: Hub) -> None:
    hub.add("acme/tiny", FILES, token=TOKEN)
    await service.apply("tiny", source={"huggingface": {"tokenSecretRef": "hub"}}, storage=STORAGE)
    await service.reaches("tiny", explains("CreateWorkerPodFailed", 'secret "hub" not found'))
    await service.create(SECRET, "hub", stringData={"HF_TOKEN": TOKEN})
    await service.reaches("tiny", ModelPhase.READY)
    for kind in (JOB, POD, EVENT, MODEL):
        assert TOKEN not in str((await service.cluster.api.list(kind, service.namespace))[0])


async def test_a_refused_download_has_advice(service: KubeService, hub: Hub) -> None:
    hub.add("acme/tiny", FILES, token=TOKEN)
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    status = await service.reaches("tiny", ModelPhase.FAILED)
    reason, message = reason_and_message(status, "ModelLoaded")
    assert "ModelLoadFailed" == reason
    assert "no token is named in source.huggingface.tokenSecretRef; next retry at" in message
    await service.create(SECRET, "hub", stringData={"HF_TOKEN": TOKEN})
    await service.apply("tiny", source={"huggingface": {"tokenSecretRef": "hub"}})
    await service.reaches("tiny", ModelPhase.READY)


async def test_a_missing_image_is_named_until_it_exists(service: KubeService) -> None:
    service.cluster.kubelet.images.clear()
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    status = await service.reaches("tiny", explains("CreateWorkerPodFailed", "ErrImagePull", WORKER_IMAGE))
    assert ModelPhase.FAILED is status.phase
    service.cluster.kubelet.images.add(WORKER_IMAGE)
    await service.reaches("tiny", ModelPhase.READY)


async def test_an_unschedulable_pod_has_its_reason_and_a_changed_spec_replaces_it(service: KubeService) -> None:
    await service.apply(
        "tiny", source={"huggingface": {}}, storage=STORAGE, instanceSpec={"nodeSelector": {"disk": "fast"}}
    )
    await service.reaches(
        "tiny", explains("CreateWorkerPodFailed", "0/1 nodes are available", "node affinity/selector")
    )
    await service.apply("tiny", instanceSpec={"nodeSelector": None})
    await service.reaches("tiny", ModelPhase.READY)


async def test_an_unbound_pvc_has_its_reason_until_it_is_bound(service: KubeService) -> None:
    pvc = {**PVC_SPEC, "storageClassName": service.namespace}
    await service.apply("tiny", source={"huggingface": {}}, storage={"pvc": {"name": "weights", "spec": pvc}})
    missing = f'storageclass.storage.k8s.io "{service.namespace}" not found'
    status = await service.reaches("tiny", explains("BoundFailed", missing, type_="StorageCreated"))
    assert ModelPhase.STORAGE_CREATING is status.phase
    assert reason_and_message(status, "StorageCreated") == reason_and_message(status)
    await eventually(lambda: warned(service, "BoundFailed"), within_seconds=90, what="an Event")
    made = {"metadata": {"name": service.namespace, "namespace": ""}, "provisioner": "kubernetes.io/host-path"}
    await service.cluster.api.create(CLASS, {"apiVersion": CLASS.api_version, "kind": CLASS.kind, **made})
    await service.reaches("tiny", ModelPhase.READY)


async def warned(service: KubeService, reason: str) -> bool:
    """Whether the model has a warning with this reason among its Kubernetes Events."""
    events, _ = await service.cluster.api.list(EVENT, service.namespace, fields=f"reason={reason},type=Warning")
    return "ArksModel" in {event["involvedObject"]["kind"] for event in events}


async def test_a_refused_job_names_the_field(service: KubeService) -> None:
    wrong = {"resources": {"requests": {"cpu": "much"}}}
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE, instanceSpec=wrong)
    await service.reaches("tiny", explains("ModelLoadFailed", "quantities must match"))
    await service.apply("tiny", instanceSpec=None)
    await service.reaches("tiny", ModelPhase.READY)


async def test_a_pod_that_policy_forbids_is_reported(service: KubeService) -> None:
    root = {"podSecurityContext": {"runAsUser": 0}}
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE, instanceSpec=root)
    await service.reaches("tiny", explains("CreateWorkerPodFailed", "PodSecurity", "runAsNonRoot"))
    await service.apply("tiny", instanceSpec=None)
    await service.reaches("tiny", ModelPhase.READY)


async def test_a_model_without_pvc_and_spec_waits_for_a_users_pvc(service: KubeService) -> None:
    await service.apply("tiny", source={"huggingface": {}})
    status = await service.reaches("tiny", ModelPhase.FAILED)
    assert "CreateFailed" == reason_and_message(status, "StorageCreated")[0]
    assert "without spec.storage.pvc it cannot be created" in reason_and_message(status)[1]
    await service.create(PVC, "tiny", spec=PVC_SPEC)
    await service.reaches("tiny", ModelPhase.READY)
    pvc = await service.get(PVC, "tiny")
    assert ("labels" in pvc["metadata"], "ownerReferences" in pvc["metadata"]) == (False, False)


async def test_an_adopted_pvc_outlives_its_model_and_serves_the_next(service: KubeService, hub: Hub) -> None:
    await service.create(PVC, "weights", spec=PVC_SPEC)
    for _ in range(2):
        await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
        await service.reaches("tiny", ModelPhase.READY)
        await service.delete("tiny")
    assert len(WEIGHTS) == hub.served_bytes["tiny.gguf"]
    assert "deletionTimestamp" not in (await service.get(PVC, "weights"))["metadata"]


async def test_the_deletion_of_an_adopted_pvc_is_noticed(service: KubeService) -> None:
    await service.create(PVC, "weights", spec=PVC_SPEC)
    await service.apply("tiny", source={"huggingface": {}}, storage={"pvc": {"name": "weights", "spec": PVC_SPEC}})
    before = await service.reaches("tiny", ModelPhase.READY)
    await service.cluster.api.delete(PVC, Key(service.namespace, "weights"))
    await service.reaches("tiny", lambda status: status.phase is not ModelPhase.READY)
    after = await service.reaches("tiny", ModelPhase.READY)
    assert before.revision == after.revision
    assert "arks.ai/model" in (await service.get(PVC, "weights"))["metadata"]["labels"]


async def test_objects_of_arks_are_deleted_with_the_model(service: KubeService) -> None:
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", ModelPhase.READY)
    await service.delete("tiny")
    await eventually(lambda: service.is_absent(JOB, "arks-worker-tiny"), within_seconds=90)
    await eventually(lambda: service.is_absent(PVC, "weights"), within_seconds=90)


async def test_a_model_deleted_during_its_download_stops_the_worker(service: KubeService, hub: Hub) -> None:
    hub.hold = asyncio.Event()
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", lambda status: bool(status.progress and status.progress.done_bytes > 9))
    await service.delete("tiny")

    async def nothing() -> bool:
        return not [kind for kind in (JOB, POD, PVC) if (await service.cluster.api.list(kind, service.namespace))[0]]

    await eventually(nothing, within_seconds=90)


async def test_a_pvc_passes_to_the_next_model_that_uses_it(service: KubeService) -> None:
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", ModelPhase.READY)
    await service.apply("other", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("other", ModelPhase.READY)
    await service.delete("tiny")
    await eventually(lambda: service.is_absent(JOB, "arks-worker-tiny"), within_seconds=90)
    pvc, other = await service.get(PVC, "weights"), await service.get(MODEL, "other")
    assert "deletionTimestamp" not in pvc["metadata"]
    assert [other["metadata"]["uid"]] == [owner["uid"] for owner in pvc["metadata"]["ownerReferences"]]
    await service.delete("other")
    await eventually(lambda: service.is_absent(PVC, "weights"), within_seconds=90)


async def an_engine(service: KubeService, pvc: str) -> None:
    """A pod that uses the PVC, as the pod of an application would."""
    security = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    spec = {
        "schedulingGates": [{"name": "for-ever"}],
        "containers": [{"name": "leader", "image": "nothing", "securityContext": security}],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": pvc}}],
    }
    metadata = {"name": "engine", "namespace": service.namespace, "labels": {"arks.ai/model": "tiny"}}
    await service.cluster.api.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


async def test_a_pvc_that_engines_use_outlives_its_model_and_returns_to_it(service: KubeService, hub: Hub) -> None:
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", ModelPhase.READY)
    await an_engine(service, "weights")
    await service.delete("tiny")
    await eventually(lambda: service.is_absent(JOB, "arks-worker-tiny"), within_seconds=90)
    assert "deletionTimestamp" not in (await service.get(PVC, "weights"))["metadata"]

    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", ModelPhase.READY)
    assert len(WEIGHTS) == hub.served_bytes["tiny.gguf"]
    owners = (await service.get(PVC, "weights"))["metadata"]["ownerReferences"]
    assert [(await service.get(MODEL, "tiny"))["metadata"]["uid"]] == [owner["uid"] for owner in owners]

    await service.cluster.api.delete(POD, Key(service.namespace, "engine"))
    await service.delete("tiny")
    await eventually(lambda: service.is_absent(PVC, "weights"), within_seconds=90)


async def test_a_pvc_without_a_model_is_deleted_with_its_engines(service: KubeService) -> None:
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", ModelPhase.READY)
    await an_engine(service, "weights")
    await service.delete("tiny")
    await eventually(lambda: service.is_absent(JOB, "arks-worker-tiny"), within_seconds=90)
    assert "deletionTimestamp" not in (await service.get(PVC, "weights"))["metadata"]
    await service.cluster.api.delete(POD, Key(service.namespace, "engine"))
    await eventually(lambda: service.is_absent(PVC, "weights"), within_seconds=90)


async def test_weights_that_a_user_put_into_a_pvc_are_found(service: KubeService) -> None:
    await service.apply("mine", storage={**STORAGE, "subPath": "mine"})
    await service.reaches("mine", explains("CreateFailed", "create and fill it"))
    await service.create(PVC, "weights", spec=PVC_SPEC)
    await service.reaches("mine", explains("ModelLoadFailed", "/models/mine does not exist"))
    (service.cluster.kubelet.mounted[Key(service.namespace, "weights")] / "mine").mkdir()
    (service.cluster.kubelet.mounted[Key(service.namespace, "weights")] / "mine/x.gguf").write_bytes(WEIGHTS)
    status = await service.reaches("mine", ModelPhase.READY)
    assert ("/models/mine/x.gguf", len(WEIGHTS)) == (status.path, status.size_bytes)


async def test_another_model_in_the_spec_replaces_the_first(service: KubeService, hub: Hub) -> None:
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", ModelPhase.READY)
    hub.add("acme/other", {"other.gguf": WEIGHTS})
    await service.apply("tiny", model="acme/other")
    status = await service.reaches("tiny", lambda status: bool(status.path and "other.gguf" in status.path))
    assert 1 == status.file_count
    files = service.cluster.kubelet.mounted[Key(service.namespace, "weights")] / f"models/{service.namespace}/tiny"
    assert ["other.gguf"] == [path.name for path in files.iterdir() if path.is_file()]


async def test_a_worker_without_memory_is_reported_and_retried(service: KubeService) -> None:
    service.cluster.kubelet.memory_is_short = True
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", explains("ran out of memory", "instanceSpec.resources"))
    service.cluster.kubelet.memory_is_short = False
    await service.reaches("tiny", ModelPhase.READY)


async def test_the_download_of_a_killed_pod_resumes(service: KubeService, hub: Hub) -> None:
    hub.hold = asyncio.Event()
    await service.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
    await service.reaches("tiny", lambda status: bool(status.progress and status.progress.done_bytes > 500_000))
    for pod in (await service.cluster.api.list(POD, service.namespace))[0]:
        await service.cluster.api.delete(POD, Key(service.namespace, pod["metadata"]["name"]))
    await eventually(lambda: len(_starts(hub)) == 2, within_seconds=90, what="a second worker")
    hub.hold.set()
    await service.reaches("tiny", ModelPhase.READY)
    assert [False, True] == [start > 0 for start in _starts(hub)]


def _starts(hub: Hub) -> list[int]:
    return [served.start for served in hub.served if served.path == "tiny.gguf"]


async def test_a_restart_of_the_service_disturbs_no_download(
    kube: Cluster, kubeconfig: Path, bus: Server, hub: Hub, namespace: str
) -> None:
    hub.hold = asyncio.Event()
    async with kube_service(kube, kubeconfig, bus, namespace, hub_endpoint=hub.url) as first:
        await first.apply("tiny", source={"huggingface": {}}, storage=STORAGE)
        await first.reaches("tiny", lambda status: bool(status.progress and status.progress.done_bytes > 9))
        job = await first.get(JOB, "arks-worker-tiny")
    hub.hold.set()
    async with kube_service(kube, kubeconfig, bus, namespace, hub_endpoint=hub.url) as second:
        await second.reaches("tiny", ModelPhase.READY)
        assert job["metadata"]["uid"] == (await second.get(JOB, "arks-worker-tiny"))["metadata"]["uid"]
        for pod in (await kube.api.list(POD, namespace))[0]:
            await kube.api.delete(POD, Key(namespace, pod["metadata"]["name"]))
    async with kube_service(kube, kubeconfig, bus, namespace, hub_endpoint=hub.url) as third:
        await third.fact("tiny", lambda fact: fact.ready)
        assert job["metadata"]["uid"] == (await third.get(JOB, "arks-worker-tiny"))["metadata"]["uid"]
    assert len(WEIGHTS) == hub.served_bytes["tiny.gguf"]
