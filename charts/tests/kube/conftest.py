"""A real API server on which charts are installed. It validates and stores objects, but runs no pods."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
import yaml
from prometheus_client import CollectorRegistry

from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.kit.testing.helm import HelmFailed, helm
from arks.kit.testing.kubernetes import ApiServer, api_server
from arks.kit.testing.wait import eventually

CHARTS = Path(__file__).parents[2]
NAMESPACE = "arks-system"
TENANTS = ("team-a", "team-b")
Json: TypeAlias = dict[str, Any]


def definition(group: str, kind: str, plural: str, version: str) -> Json:
    """A minimal CRD of a resource that Arks does not define; the chart only needs its existence."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # Kubernetes' own API groups require the annotation
        "metadata": {"name": f"{plural}.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [served],
        },
    }


LEADER_WORKER_SETS = definition("leaderworkerset.x-k8s.io", "LeaderWorkerSet", "leaderworkersets", "v1")
REFERENCE_GRANTS = definition("gateway.networking.k8s.io", "ReferenceGrant", "referencegrants", "v1beta1")
POD_MONITORS = definition("monitoring.coreos.com", "PodMonitor", "podmonitors", "v1")
PROMETHEUS_RULES = definition("monitoring.coreos.com", "PrometheusRule", "prometheusrules", "v1")
SERVICE_MONITORS = definition("monitoring.coreos.com", "ServiceMonitor", "servicemonitors", "v1")


@dataclass
class Cluster:
    server: ApiServer
    refusals: list[str] = field(default_factory=list)
    """Helm's errors for installations before their preconditions held."""
    not_owned: str = ""
    """Helm's error for CRDs that it did not create."""
    _probes: Iterator[int] = field(default_factory=itertools.count)

    async def helm(self, *arguments: str) -> str:
        """Raises HelmFailed."""
        return await asyncio.to_thread(helm, *arguments, kubeconfig=self.server.kubeconfig)

    async def install(self, release: str, namespace: str, *options: str) -> str:
        output = await self.helm("install", release, str(CHARTS / "arks"), "-n", namespace, *options)
        if "--dry-run=server" not in options:
            await self._rights_in_force()
        return output

    async def take_over_definitions(self) -> None:
        """Install the CRDs over one that the Go implementation's manifests created."""
        theirs = yaml.safe_load((CHARTS / "arks-crds/templates/arksquotas.yaml").read_text())
        theirs["spec"]["versions"][0]["additionalPrinterColumns"] = [
            {"name": "AGE", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
        ]
        await self.server.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(theirs))
        install = ("upgrade", "--install", "arks-crds", str(CHARTS / "arks-crds"), "-n", NAMESPACE)
        with pytest.raises(HelmFailed) as raised:
            await self.helm(*install)
        self.not_owned = str(raised.value)
        await self.helm(*install, "--take-ownership", "--force-conflicts")

    async def refused(self, release: str, namespace: str, *options: str) -> str:
        with pytest.raises(HelmFailed) as raised:
            await self.install(release, namespace, *options, "--dry-run=server")
        return str(raised.value)

    @asynccontextmanager
    async def installed(self, release: str, namespace: str, *options: str) -> AsyncIterator[None]:
        await self.install(release, namespace, *options)
        try:
            yield
        finally:
            await self.helm("uninstall", release, "-n", namespace)

    async def _rights_in_force(self) -> None:
        """Waits until new rights are in force: the authorizer reads objects of a kind in order, the newest last."""
        user = f"probe-{next(self._probes)}"
        group, rules = "rbac.authorization.k8s.io", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
        subjects = [{"apiGroup": group, "kind": "User", "name": user}]
        for kind, scope in (("Role", {"namespace": "elsewhere"}), ("ClusterRole", {})):
            made = {"apiVersion": f"{group}/v1", "metadata": {"name": user, **scope}}
            reference = {"apiGroup": group, "kind": kind, "name": user}
            binding = {**made, "kind": f"{kind}Binding", "roleRef": reference, "subjects": subjects}
            await self.apply({**made, "kind": kind, "rules": rules}, binding)
            where = ("-n", scope["namespace"]) if scope else ("-n", "default")
            await eventually(partial(self._may_get_pods, user, *where), what=f"the rights of {user}")

    async def _may_get_pods(self, user: str, *where: str) -> bool:
        try:
            await self.server.kubectl("auth", "can-i", "get", "pods", f"--as={user}", *where)
        except RuntimeError:
            return False
        return True

    async def upgrade(self, release: str, namespace: str, *options: str) -> str:
        return await self.helm("upgrade", release, str(CHARTS / "arks"), "-n", namespace, *options)

    async def secret(self) -> Json:
        found = await self.server.kubectl("get", "secret", "arks-secrets", "-n", NAMESPACE, "-o", "json")
        data: Json = json.loads(found)["data"]
        return data

    async def apply(self, *objects: Json) -> None:
        await self.server.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))


def surroundings() -> Iterable[Json]:
    for name in (NAMESPACE, "elsewhere", *TENANTS):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    # The values in golden/company.values.yaml name it
    yield {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "platform"}, "value": 1}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """An API server with Arks' CRDs and nothing else. A test that installs something uninstalls it."""
    async with api_server(tmp_path_factory.mktemp("kube")) as server:
        cluster = Cluster(server)
        await cluster.apply(*surroundings())
        cluster.refusals.append(await cluster.refused("arks", NAMESPACE))
        await cluster.take_over_definitions()
        cluster.refusals.append(await cluster.refused("arks", NAMESPACE))
        await cluster.apply(LEADER_WORKER_SETS, SERVICE_MONITORS, POD_MONITORS, PROMETHEUS_RULES, REFERENCE_GRANTS)
        await server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=90s")
        yield cluster


REVIEW = Kind("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False)
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True)
class Rights:
    """Queries the API server for the rights of the accounts of release `arks`."""

    api: KubeApi

    async def may(self, service: str, verb: str, resource: str, namespace: str, *, name: str = "") -> bool:
        """`resource` as kubectl writes it: plural, plural.group, plural.group/subresource."""
        named, _, subresource = resource.partition("/")
        plural, _, group = named.partition(".")
        attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "name": name}
        spec = {
            "user": f"system:serviceaccount:{NAMESPACE}:arks-{service}",
            "resourceAttributes": {**attributes, "subresource": subresource},
        }
        review = {"apiVersion": REVIEW.api_version, "kind": REVIEW.kind, "metadata": {"name": ""}, "spec": spec}
        return bool((await self.api.create(REVIEW, review))["status"]["allowed"])

    async def of(self, service: str, namespace: str, resources: Iterable[str]) -> dict[str, set[str]]:
        """Resource -> allowed verbs, without resources for which none is allowed."""
        found: dict[str, set[str]] = {}
        for resource in resources:
            answers = await asyncio.gather(*(self.may(service, verb, resource, namespace) for verb in VERBS))
            found[resource] = {verb for verb, answer in zip(VERBS, answers, strict=True) if answer}
        return {resource: verbs for resource, verbs in found.items() if verbs}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rights(cluster: Cluster) -> AsyncIterator[Rights]:
    api = KubeApi("arks-test", CollectorRegistry(), cluster.server.kubeconfig)
    await api.start()
    yield Rights(api)
    await api.stop()
