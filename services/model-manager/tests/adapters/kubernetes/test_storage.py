"""Claims and Jobs keep the storage's promises, on Kubernetes' own controllers."""

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
from arks.kit.home import Run
from arks.kit.key import Key
from arks.kit.kube.api import POD, Kind, KubeApi
from arks.kit.kube.informer import Informer
from arks.kit.kube.resources import KubeResources, kind_of
from arks.kit.testing.hub import Hub, hub_server
from arks.kit.testing.wait import eventually
from arks.model_manager.adapters.kubernetes.manifests import Place, Worker
from arks.model_manager.adapters.kubernetes.objects import CLAIM, JOB, OUR_PODS, OURS, Claims, Jobs
from arks.model_manager.adapters.kubernetes.progress import Progress
from arks.model_manager.adapters.kubernetes.states import ClaimSeen, JobSeen, PodSeen, claim_seen, job_seen, pod_seen
from arks.model_manager.adapters.kubernetes.storage import KubeStorage
from arks.model_manager.adapters.metrics import LoadMetrics
from arks.model_manager.domain.observation import Content, Stored
from arks.model_manager.domain.source import Order, SourceKind
from arks.model_manager.testing import storage_contract
from arks.model_manager.testing.cluster import WORKER_IMAGE, Cluster, cluster
from arks.model_manager.testing.storage_contract import KEY, Rig, StorageContract

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
CRDS = Path(__file__).parents[5] / "charts/arks-crds/templates"
MODEL = kind_of(ArksModel)
SECRET = Kind("", "v1", "Secret", "secrets")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kube(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path_factory.mktemp("kube"), CRDS) as kube:
        yield kube


@dataclass
class KubeRig:
    kube: Cluster
    storage: KubeStorage
    models: KubeResources[ArksModel]
    hub: Hub
    changes: list[str] = field(default_factory=list)

    async def load(self, place: str, order: Order, token: str | None = None) -> None:
        if token is not None:
            secret = {"metadata": {"name": "hub", "namespace": KEY.namespace}, "stringData": {"HF_TOKEN": token}}
            await self.kube.api.create(SECRET, {"apiVersion": "v1", "kind": "Secret", **secret})
            await self.change({"source": {"huggingface": {"tokenSecretRef": "hub"}}})
        await self.storage.load(place, KEY, order, None)

    async def quiet(self) -> None:
        await eventually(lambda: self._nothing_left("default", but_claims=True), within_seconds=90, what="pods gone")

    async def adopt(self, place: str) -> None:
        claim = Place.parse(place).claim
        metadata = {"name": claim.name, "namespace": claim.namespace}
        made = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata,
            "spec": storage_contract.CLAIM,
        }
        await self.kube.api.create(CLAIM, made)
        await self.change({"storage": {"subPath": Place.parse(place).path}})

    def read(self, stored: Stored, name: str) -> bytes:
        mounted = self.kube.kubelet.mounted[Key("default", "weights")]
        return (mounted / stored.path.removeprefix("/models/") / name).read_bytes()

    async def model_gone(self) -> None:
        await self.kube.api.delete(MODEL, KEY)
        await eventually(lambda: self._nothing_left("default"), within_seconds=90, what="everything gone")
        await self.made()

    async def made(self, key: Key = KEY) -> None:
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

    async def clean(self) -> None:
        await self.kube.api.delete(MODEL, KEY)
        await self.kube.api.delete(SECRET, Key("default", "hub"))
        await self.quiet()
        await self.kube.api.delete(CLAIM, Key("default", "weights"))
        await eventually(lambda: self._nothing_left("default"), within_seconds=90, what="everything gone")

    async def _nothing_left(self, namespace: str, *, but_claims: bool = False) -> bool:
        kinds = [JOB, POD] if but_claims else [JOB, POD, CLAIM]
        return not [kind for kind in kinds if (await self.kube.api.list(kind, namespace))[0]]


@pytest_asyncio.fixture(loop_scope="module")
async def rig(kube: Cluster) -> AsyncIterator[Rig]:
    registry, clock = CollectorRegistry(), SystemClock()
    api = KubeApi("arks-model-manager", registry, kube.server.kubeconfig)
    await api.start()
    models = KubeResources(api, ArksModel)
    claims: Cache[ClaimSeen] = Cache()
    job_cache: Cache[JobSeen] = Cache()
    pods: Cache[PodSeen] = Cache()
    jobs = Jobs(job_cache, pods)
    metrics = LoadMetrics(registry, lambda: 0.0)
    progress = Progress(api, jobs, metrics.read_bytes, seconds=0.1)
    storage = KubeStorage(
        api,
        models=models.cache,
        claims=Claims(api, claims, clock),
        jobs=jobs,
        progress=progress,
        metrics=metrics,
        worker=Worker(WORKER_IMAGE, user=None, connections=2, reserve_bytes=0),
        clock=clock,
        look_seconds=0.2,
    )
    informers: list[Informer[Any]] = [
        Informer(api, CLAIM, claim_seen, claims, labels=OURS),
        Informer(api, JOB, job_seen, job_cache, labels=OURS),
        Informer(api, POD, pod_seen, pods, labels=OUR_PODS),
    ]
    runs: list[Run] = [models.run, progress.run, storage.look_at_adopted, *(informer.run for informer in informers)]
    tasks = [asyncio.ensure_future(run()) for run in runs]
    async with hub_server() as hub:
        rig = KubeRig(kube, storage, models, hub)
        storage.follow(rig.changes.append)
        await rig.made()
        yield rig
        await rig.clean()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await api.stop()


class TestKubeStorage(StorageContract):
    async def test_two_models_of_one_place_share_one_job(self, rig: KubeRig) -> None:
        place, order = self.place(rig), self.order(rig)
        other = Key("default", "other")
        await rig.made(other)
        await rig.storage.prepare(place, KEY)
        await rig.load(place, order)
        await rig.storage.load(place, other, order, None)
        assert 1 == len((await rig.kube.api.list(JOB, "default"))[0])
        await self.complete(rig, place, order)
        await rig.kube.api.delete(MODEL, other)

    async def test_a_job_of_somebody_else_is_not_touched(self, rig: KubeRig) -> None:
        place, order = self.place(rig), self.order(rig)
        container = {"name": "theirs", "image": "nothing"}
        job = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
        metadata = {"name": "arks-worker-tiny", "namespace": "default"}
        theirs = await rig.kube.api.create(
            JOB, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job}
        )
        await rig.storage.prepare(place, KEY)
        with pytest.raises(Invalid, match="was not made by Arks"):
            await rig.load(place, order)
        found = await rig.kube.api.get(JOB, Key("default", "arks-worker-tiny"))
        assert found is not None
        assert theirs["metadata"]["uid"] == found["metadata"]["uid"]
        await rig.kube.api.delete(JOB, Key("default", "arks-worker-tiny"))

    async def test_a_file_source_is_refused_with_the_way_out(self, rig: KubeRig) -> None:
        order = Order(SourceKind.FILE, path="/data/x.gguf")
        stored, loading = await rig.storage.observe(self.place(rig), order)
        assert (Content.ABSENT, None) == (stored.content, loading)
        assert "put the file into a claim and leave spec.source out" in stored.message

    async def test_a_path_that_is_for_arks_itself_is_refused(self, rig: KubeRig) -> None:
        stored, _ = await rig.storage.observe(self.place(rig, "x/.arks"), self.order(rig))
        assert Content.REFUSED is stored.content
