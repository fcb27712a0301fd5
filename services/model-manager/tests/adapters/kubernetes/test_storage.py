"""PVCs and Jobs keep the storage contract, with Kubernetes' own controllers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.contracts.resources import ArksModel
from arks.kit.cache import Cache
from arks.kit.clock import SystemClock
from arks.kit.errors import Invalid
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import POD, SECRET
from arks.kit.kube.pod_defaults import NO_DEFAULTS
from arks.kit.kube.resources import KubeResources, kind_of
from arks.kit.testing.wait import eventually
from arks.kit.types import AsyncCallable, Json
from arks.model_manager.adapters.kubernetes.consumers import Consumers
from arks.model_manager.adapters.kubernetes.faults import Faults
from arks.model_manager.adapters.kubernetes.manifests import StoragePath, WorkerOptions
from arks.model_manager.adapters.kubernetes.objects import JOB, OUR_PODS, OURS, PVC, Jobs, Pvcs
from arks.model_manager.adapters.kubernetes.placement import Consumer
from arks.model_manager.adapters.kubernetes.progress import WorkerProgress
from arks.model_manager.adapters.kubernetes.states import (
    ObservedJob,
    ObservedPod,
    ObservedPvc,
    parse_job,
    parse_pod,
    parse_pvc,
)
from arks.model_manager.adapters.kubernetes.storage import KubeStorage
from arks.model_manager.adapters.kubernetes.storage_classes import STORAGE_CLASS, StorageClasses
from arks.model_manager.adapters.kubernetes.workers import Workers
from arks.model_manager.adapters.metrics import DownloadMetrics
from arks.model_manager.domain.observation import Content, StoredWeights
from arks.model_manager.domain.request import Limits
from arks.model_manager.domain.source_kind import SourceKind
from arks.model_manager.domain.weights_source import WeightsSource
from arks.model_manager.testing import storage_contract
from arks.model_manager.testing.cluster import Cluster, cluster
from arks.model_manager.testing.hub import Hub, hub_server
from arks.model_manager.testing.kubelet import WORKER_IMAGE
from arks.model_manager.testing.storage_contract import KEY, StorageContract, StorageHarness

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
CRDS = Path(__file__).parents[5] / "charts/arks-crds/templates"
MODEL = kind_of(ArksModel)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kube(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path_factory.mktemp("kube"), CRDS) as kube:
        yield kube


@dataclass
class KubeStorageHarness:
    kube: Cluster
    storage: KubeStorage
    models: KubeResources[ArksModel]
    hub: Hub
    applications: Cache[Consumer]
    warnings: list[str]
    changes: list[str] = field(default_factory=list)

    async def download(self, storage_path: str, source: WeightsSource, token: str | None = None) -> None:
        if token is not None:
            secret = {"metadata": {"name": "hub", "namespace": KEY.namespace}, "stringData": {"HF_TOKEN": token}}
            await self.kube.api.create(SECRET, {"apiVersion": "v1", "kind": "Secret", **secret})
            await self.change({"source": {"huggingface": {"tokenSecretRef": "hub"}}})
        await self.storage.download(storage_path, KEY, source, {})

    async def quiet(self) -> None:
        await eventually(lambda: self._is_empty("default", except_pvcs=True), within_seconds=90, what="pods gone")

    async def adopt(self, storage_path: str) -> None:
        pvc = StoragePath.parse(storage_path).pvc
        metadata = {"name": pvc.name, "namespace": pvc.namespace}
        made = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata,
            "spec": storage_contract.PVC_SPEC,
        }
        await self.kube.api.create(PVC, made)
        await self.change({"storage": {"subPath": StoragePath.parse(storage_path).path}})

    def read(self, stored: StoredWeights, name: str) -> bytes:
        mounted = self.kube.kubelet.mounted[Key("default", "weights")]
        return (mounted / stored.path.removeprefix("/models/") / name).read_bytes()

    async def recreate_model(self) -> None:
        await self.kube.api.delete(MODEL, KEY)
        await eventually(lambda: self._is_empty("default"), within_seconds=90, what="everything gone")
        await self.create()

    async def create(self, key: Key = KEY) -> None:
        spec = storage_contract.spec_of().to_dict() | {"source": {"huggingface": {}}}
        metadata = {"name": key.name, "namespace": key.namespace}
        await self.kube.api.create(
            MODEL, {"apiVersion": "arks.ai/v1", "kind": "ArksModel", "metadata": metadata, "spec": spec}
        )
        await eventually(lambda: self.models.cache.get(key) is not None)

    async def change(self, spec: dict[str, object]) -> None:
        changed = await self.kube.api.merge(MODEL, KEY, {"spec": spec})
        generation = changed["metadata"]["generation"]
        await eventually(lambda: (model := self.models.cache.get(KEY)) and model.metadata.generation == generation)

    async def wait_for_first_consumer(self) -> None:
        """Give the model a class that waits."""
        name = "waits"
        made = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
        await self.kube.api.create(
            STORAGE_CLASS, made | {"provisioner": "example.com/none", "volumeBindingMode": "WaitForFirstConsumer"}
        )
        spec = storage_contract.PVC_SPEC | {"storageClassName": name}
        await self.change({"storage": {"pvc": {"name": "weights", "spec": spec}}})

    async def node_selector(self) -> Json:
        """Of the model's Job."""
        [job] = (await self.kube.api.list(JOB, KEY.namespace))[0]
        found: Json = job["spec"]["template"]["spec"].get("nodeSelector", {})
        return found

    async def clean(self) -> None:
        await self.kube.api.delete(MODEL, KEY)
        await self.kube.api.delete(SECRET, Key("default", "hub"))
        await self.quiet()
        await self.kube.api.delete(PVC, Key("default", "weights"))
        await eventually(lambda: self._is_empty("default"), within_seconds=90, what="everything gone")

    async def _is_empty(self, namespace: str, *, except_pvcs: bool = False) -> bool:
        kinds = [JOB, POD] if except_pvcs else [JOB, POD, PVC]
        return not [kind for kind in kinds if (await self.kube.api.list(kind, namespace))[0]]


@pytest_asyncio.fixture(loop_scope="module")
async def harness(kube: Cluster) -> AsyncIterator[StorageHarness]:
    registry, clock = CollectorRegistry(), SystemClock()
    api = KubeApi("arks-model-manager", registry, kube.server.kubeconfig)
    await api.start()
    models = KubeResources(api, ArksModel)
    pvcs: Cache[ObservedPvc] = Cache()
    job_cache: Cache[ObservedJob] = Cache()
    pods: Cache[ObservedPod] = Cache()
    jobs = Jobs(job_cache, pods)
    metrics = DownloadMetrics(registry, lambda: 0.0)
    progress = WorkerProgress(api, jobs, metrics.read_bytes, seconds=0.1)
    faults = Faults(api, clock)
    applications: Cache[Consumer] = Cache()
    consumers = Consumers([applications])
    workers = Workers(
        api,
        models=models.cache,
        jobs=jobs,
        progress=progress,
        faults=faults,
        metrics=metrics,
        worker=WorkerOptions(WORKER_IMAGE, user=None, limits=Limits(2, None, 0)),
        clock=clock,
        consumers=consumers,
        engines=NO_DEFAULTS,
    )
    warnings: list[str] = []
    storage = KubeStorage(
        api,
        models=models.cache,
        pvcs=Pvcs(api, pvcs, clock),
        jobs=jobs,
        progress=progress,
        workers=workers,
        faults=faults,
        poll_seconds=0.2,
        consumers=consumers,
        classes=StorageClasses(api, clock),
        warn=lambda model, text: warnings.append(f"{model.name}: {text}"),
    )
    informers: list[Informer[Any]] = [
        Informer(api, PVC, parse_pvc, pvcs, labels=OURS),
        Informer(api, JOB, parse_job, job_cache, labels=OURS),
        Informer(api, POD, parse_pod, pods, labels=OUR_PODS),
    ]
    runs: list[AsyncCallable] = [
        models.run,
        progress.run,
        storage.poll_adopted_pvcs,
        *(informer.run for informer in informers),
    ]
    tasks = [asyncio.ensure_future(run()) for run in runs]
    async with hub_server() as hub:
        harness = KubeStorageHarness(kube, storage, models, hub, applications, warnings)
        storage.follow(harness.changes.append)
        await harness.create()
        yield harness
        await harness.clean()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await api.stop()


class TestKubeStorage(StorageContract):
    async def test_models_of_the_same_path_share_a_job(self, harness: KubeStorageHarness) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        other = Key("default", "other")
        await harness.create(other)
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        await harness.storage.download(storage_path, other, source, {})
        assert 1 == len((await harness.kube.api.list(JOB, "default"))[0])
        await self.complete(harness, storage_path, source)
        await harness.kube.api.delete(MODEL, other)

    @pytest.mark.parametrize("forged", [False, True])
    async def test_a_job_of_a_user_is_not_touched(self, harness: KubeStorageHarness, forged: bool) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        container = {"name": "theirs", "image": "nothing"}
        job = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
        metadata: Json = {"name": "arks-worker-tiny", "namespace": "default"}
        if forged:
            marks = {"arks.ai/place": storage_path, "arks.ai/order": "f", "arks.ai/template": "t"}
            metadata |= {"labels": {"arks.ai/model": "tiny"}, "annotations": marks}
        theirs = await harness.kube.api.create(
            JOB, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job}
        )
        await harness.storage.prepare(storage_path, KEY)
        with pytest.raises(Invalid, match=r"Job arks-worker-tiny exists and has no owner.*give ArksModel tiny"):
            await harness.download(storage_path, source)
        found = await harness.kube.api.get(JOB, Key("default", "arks-worker-tiny"))
        assert found is not None
        assert theirs["metadata"]["uid"] == found["metadata"]["uid"]
        await harness.kube.api.delete(JOB, Key("default", "arks-worker-tiny"))

    async def test_a_volume_that_waits_for_a_pod_is_bound_where_the_applications_run(
        self, harness: KubeStorageHarness
    ) -> None:
        await harness.wait_for_first_consumer()
        storage_path, source = self.storage_path(harness), self.source(harness)
        harness.applications.apply(Key("default", "chat"), Consumer(KEY.name, 2, ({"nodeSelector": {"pool": "gpu"}},)))
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        assert {"pool": "gpu"} == await harness.node_selector()
        await harness.storage.observe(storage_path, source)
        assert [
            "tiny: PVC weights is ReadWriteOnce: one node can mount it, but a replica of chat has 2 nodes; "
            "use ReadWriteMany or ReadOnlyMany"
        ] == harness.warnings
        # The application moves while no pod could start: the Job is made anew
        harness.changes.clear()
        harness.applications.apply(Key("default", "chat"), Consumer(KEY.name, 1, ({"nodeSelector": {"zone": "a"}},)))
        assert [storage_path] == harness.changes
        await harness.download(storage_path, source)
        assert {"zone": "a"} == await harness.node_selector()

    async def test_a_download_to_a_volume_that_is_bound_at_once_runs_anywhere(
        self, harness: KubeStorageHarness
    ) -> None:
        storage_path, source = self.storage_path(harness), self.source(harness)
        harness.applications.apply(Key("default", "chat"), Consumer(KEY.name, 1, ({"nodeSelector": {"pool": "gpu"}},)))
        await harness.storage.prepare(storage_path, KEY)
        await harness.download(storage_path, source)
        assert {} == await harness.node_selector()

    async def test_a_file_source_is_refused_with_advice(self, harness: KubeStorageHarness) -> None:
        source = WeightsSource(SourceKind.FILE, path="/data/x.gguf")
        stored, download = await harness.storage.observe(self.storage_path(harness), source)
        assert (Content.ABSENT, None) == (stored.content, download)
        assert "put the file into a PVC and omit spec.source" in stored.message

    async def test_a_reserved_path_is_refused(self, harness: KubeStorageHarness) -> None:
        stored, _ = await harness.storage.observe(self.storage_path(harness, "x/.arks"), self.source(harness))
        assert Content.REFUSED is stored.content
