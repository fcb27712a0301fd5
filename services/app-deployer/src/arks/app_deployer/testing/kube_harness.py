"""Workloads of one application on a real API server, with LeaderWorkerSet's controller and kubelet faked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.kubernetes.children import LEADER_WORKER_SET
from arks.app_deployer.adapters.kubernetes.wiring import kubernetes_parts
from arks.app_deployer.adapters.kubernetes.workloads import KubeWorkloads
from arks.app_deployer.config import Settings
from arks.app_deployer.domain.workload import Change, ObservedReplica, ObservedWorkload, Workload
from arks.app_deployer.testing.fake_cluster import Cluster
from arks.contracts.resources import ArksApplication, InstanceState
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.clock import SystemClock
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.pod_defaults import PodDefaults
from arks.kit.testing.kubernetes import ApiServer
from arks.kit.testing.wait import eventually
from arks.kit.types import Json

KEY = Key("default", "app")

PLATFORM = PodDefaults(annotations={"example.com/platform": "yes"})


class KubeHarness:
    def __init__(self, api: KubeApi, registry: CollectorRegistry, **settings: Any) -> None:
        self.api = api
        self.registry = registry
        self.cluster = Cluster(api)
        self.settings = Settings(room_seconds=0.5, pod_defaults=PLATFORM, **settings)
        self.changes: list[Change] = []
        self.repairs: list[tuple[str, str]] = []
        """Owner and message of each repair."""
        self._tasks: list[asyncio.Future[None]] = []
        self.workloads = self._make()

    def _make(self) -> KubeWorkloads:
        self.metrics = CollectorRegistry()
        self.parts = kubernetes_parts(self.settings, self.api, SystemClock(), self.metrics, on_repair=self._note_repair)
        assert isinstance(self.parts.workloads, KubeWorkloads)
        return self.parts.workloads

    def _note_repair(self, owner: Json, what: str) -> None:
        self.repairs.append((f"{owner['kind']}/{owner['metadata']['name']}", what))

    async def open(self) -> None:
        self._tasks = [asyncio.ensure_future(run()) for run in self.parts.runs]
        self.workloads.subscribe(self.changes.append)
        for start in self.parts.starts:
            await start()

    async def restart(self) -> None:
        await self.stop()
        self.workloads = self._make()
        await self.open()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stop in reversed(self.parts.stops):
            await stop()

    async def close(self) -> None:
        async def removed() -> bool:
            remaining = await self.workloads.remove(KEY, 0.0)
            return not (remaining.replicas or remaining.terminating or self.cluster.pods())

        await eventually(removed, what="nothing left")
        await self.stop()
        await self.cluster.close()

    # --- the contract's

    def spec(self, version: int) -> dict[str, Any]:
        return {"runtime": "llamacpp", "runtimeCommonArgs": ["--parallel", str(version)]}

    def model(self) -> ModelFact:
        return ModelFact(namespace="default", name="model", ready=True, path="/models/models/default/model")

    async def end(self, replica: ObservedReplica) -> None:
        await self.cluster.end(replica.name)

    def traces(self) -> Sequence[str]:
        return self.cluster.pods()

    # --- for the tests below

    def desired(self, replicas: int = 1, *, uid: str = "1", name: str = "app", **spec: Any) -> Workload:
        fields = {"replicas": replicas, "model": {"name": "model"}, "instanceSpec": {}} | self.spec(1) | spec
        metadata = {"name": name, "namespace": "default", "uid": uid}
        manifest = {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": fields}
        return Workload(ArksApplication.from_dict(manifest), self.model())

    async def reach(self, workload: Workload, *states: InstanceState, settled: bool = True) -> ObservedWorkload:
        async def reached() -> ObservedWorkload | None:
            observed = await self.workloads.apply(workload)
            same = [item.state for item in observed.replicas] == list(states)
            return observed if same and (not settled or all(item.updated for item in observed.replicas)) else None

        found = await eventually(reached, within_seconds=90, what=str(states))
        assert found is not None
        return found

    async def leader_worker_set(self) -> Json:
        found = await self.api.get(LEADER_WORKER_SET, KEY)
        assert found is not None
        return found


@asynccontextmanager
async def kube_harness(server: ApiServer) -> AsyncIterator[KubeHarness]:
    """A harness that writes as app-deployer does."""
    registry = CollectorRegistry()
    api = KubeApi("arks-app-deployer", registry, server.kubeconfig)
    await api.start()
    harness = KubeHarness(api, registry)
    await harness.cluster.start()
    await harness.open()
    yield harness
    await harness.close()
    await api.stop()
