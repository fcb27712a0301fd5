"""The whole service on a test's cluster, with an account that has exactly the chart's permissions."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml

from arks.contracts.resources import ArksModel, ArksModelStatus, ModelPhase, Resource
from arks.contracts.subjects import Facts
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.facts import FactReader
from arks.kit.home import LocalHome, Resources
from arks.kit.key import Key
from arks.kit.kube.home import KubeHome
from arks.kit.kube.kinds import NAMESPACE, Kind
from arks.kit.kube.resources import kind_of
from arks.kit.testing.run import running, running_home
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually
from arks.model_manager.config import Settings
from arks.model_manager.main import build
from arks.model_manager.testing.cluster import Cluster
from arks.model_manager.testing.kubelet import WORKER_IMAGE

R = TypeVar("R", bound=Resource)
Json = dict[str, Any]
MODEL = kind_of(ArksModel)
ACCOUNT = "model-manager"


class ObservedHome(KubeHome):
    """A home that shows a test the resources that the service reads."""

    def __init__(self, settings: Settings, kubeconfig: Path) -> None:
        super().__init__("model-manager", settings, kubeconfig=kubeconfig)
        self.models = super().resources(ArksModel)

    def resources(self, kind: type[R]) -> Resources[R]:
        assert kind is ArksModel
        return cast(Resources[R], self.models)


class KubeService:
    """A running model-manager, as its users and other services see it."""

    def __init__(self, cluster: Cluster, namespace: str, facts: FactReader[ModelFact], home: ObservedHome) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.home = home
        self._facts = facts

    async def apply(self, name: str, **spec: Any) -> None:
        """Create an ArksModel, or change the given fields of an existing one."""
        key = Key(self.namespace, name)
        if await self.cluster.api.get(MODEL, key) is not None:
            await self.cluster.api.merge(MODEL, key, {"spec": spec})
            return
        metadata = {"name": name, "namespace": self.namespace}
        made = {"apiVersion": "arks.ai/v1", "kind": "ArksModel", "metadata": metadata}
        await self.cluster.api.create(MODEL, {**made, "spec": {"model": "acme/tiny", **spec}})

    async def delete(self, name: str) -> None:
        await self.cluster.api.delete(MODEL, Key(self.namespace, name))
        await eventually(lambda: self.is_absent(MODEL, name), within_seconds=90, what=f"deletion of {name}")

    async def get(self, kind: Kind, name: str) -> Json:
        found = await self.cluster.api.get(kind, Key(self.namespace, name))
        assert found is not None, f"there is no {kind.kind} {name}"
        return found

    async def is_absent(self, kind: Kind, name: str) -> bool:
        return await self.cluster.api.get(kind, Key(self.namespace, name)) is None

    async def create(self, kind: Kind, name: str, **content: Any) -> Json:
        metadata = {"name": name, "namespace": self.namespace}
        made = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}
        return await self.cluster.api.create(kind, made)

    async def reaches(
        self, name: str, expected: ModelPhase | Callable[[ArksModelStatus], bool], *, within_seconds: float = 90.0
    ) -> ArksModelStatus:
        """The status once its phase is this one, or once the condition holds."""
        status: ArksModelStatus | None = None

        async def reached() -> bool:
            nonlocal status
            found = await self.cluster.api.get(MODEL, Key(self.namespace, name))
            status = ArksModel.from_stored(found).status if found is not None else None
            if status is None:
                return False
            return status.phase is expected if isinstance(expected, ModelPhase) else expected(status)

        try:
            await eventually(reached, within_seconds=within_seconds, what=f"{name} {expected}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {status}") from None
        assert status is not None
        return status

    async def fact(self, name: str, matches: Callable[[ModelFact], bool]) -> ModelFact:
        def matching() -> ModelFact | None:
            fact = self._facts.cache.get(Key(self.namespace, name))
            return fact if fact is not None and matches(fact) else None

        found = await eventually(matching, within_seconds=90, what=f"fact of {name}")
        assert found is not None
        return found

    def requests(self) -> dict[str, float]:
        """Requests so far by verb, resource and status, without periodic ones and Kubernetes Events."""
        collected = (sample for metric in self.home.registry.collect() for sample in metric.samples)
        found = (sample for sample in collected if sample.name == "arks_kube_requests_total")
        return {
            f"{sample.labels['verb']} {sample.labels['resource']} {sample.labels['status']}": sample.value
            for sample in found
            if sample.labels["resource"] not in {"leases", "pods/log", "events"}
        }


def _component(obj: Json) -> str | None:
    labels: dict[str, str] = obj["metadata"].get("labels", {})
    return labels.get("app.kubernetes.io/component")


def _chart_rules(chart: Path) -> list[Json]:
    """Rules of the service's roles in a rendered chart."""
    objects = [obj for obj in yaml.safe_load_all(chart.read_text()) if obj and obj["kind"] in {"ClusterRole", "Role"}]
    ours = [obj for obj in objects if _component(obj) == ACCOUNT]
    assert len(ours) >= 2, [obj["metadata"]["name"] for obj in objects]
    return [rule for obj in ours for rule in obj["rules"]]


async def account(cluster: Cluster, chart: Path) -> Path:
    """A kubeconfig of an account with the service's permissions in a rendered chart."""
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}
    rbac, named = "rbac.authorization.k8s.io", {"metadata": {"name": ACCOUNT}}
    reference = {"apiGroup": rbac, "kind": "ClusterRole", "name": ACCOUNT}
    objects: list[Json] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": "default"}},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", **named, "rules": _chart_rules(chart)},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            **named,
            "roleRef": reference,
            "subjects": [subject],
        },
    ]
    await cluster.server.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    return await cluster.server.kubeconfig_of(ACCOUNT, "default")


async def make_namespace(cluster: Cluster, name: str) -> None:
    """Create a namespace with the restricted Pod Security Standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "namespace": "", "labels": labels}
    await cluster.api.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


@asynccontextmanager
async def kube_service(
    cluster: Cluster, kubeconfig: Path, nats: Server, namespace: str, **settings: Any
) -> AsyncIterator[KubeService]:
    """Run model-manager for one namespace; a second run for the same namespace is a restart."""
    made = Settings.model_validate(
        {
            "platform": "kubernetes",
            "nats_url": f"nats://127.0.0.1:{nats.port}",
            "drain_seconds": 1.0,
            "disk_reserve_bytes": 0,
            "progress_seconds": 0.05,
            "poll_seconds": 0.1,
            "claim_look_seconds": 0.2,
            "watch_namespace": namespace,
            "release_namespace": namespace,
            "ARKS_WORKER_IMAGE": WORKER_IMAGE,
            **settings,
        }
    )
    home, outside = ObservedHome(made, kubeconfig), LocalHome("test", made)
    facts = outside.facts(Facts.MODELS, ModelFact)
    async with running(build(made, home)), running_home(outside):
        yield KubeService(cluster, namespace, facts, home)
