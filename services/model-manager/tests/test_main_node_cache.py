"""Copies of models on two nodes: the whole service on Kubernetes' API server, with two agents."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from arks.contracts.names import CACHE_PVC, cache_label
from arks.contracts.resources import ArksModelStatus, ModelPhase
from arks.kit.key import Key
from arks.kit.kube.kinds import EVENT, NAMESPACE, POD
from arks.kit.ports import free_port
from arks.kit.testing.helm import helm
from arks.kit.testing.servers import Server, nats_server
from arks.kit.testing.wait import eventually
from arks.kit.testing.web import serving
from arks.model_manager.adapters.kubernetes.node_cache.home import NODE, VOLUME
from arks.model_manager.adapters.kubernetes.objects import JOB, PVC
from arks.model_manager.programs.node_cache import agent
from arks.model_manager.testing.cluster import Cluster, cluster
from arks.model_manager.testing.hub import Hub, hub_server
from arks.model_manager.testing.kube_harness import KubeService, account, kube_service, make_namespace
from arks.model_manager.testing.node_cache import agent_settings
from arks.model_manager.testing.storage_contract import PVC_SPEC

pytestmark = [pytest.mark.kube, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
CRDS = Path(__file__).parents[3] / "charts/arks-crds/templates"
CHART = Path(__file__).parents[3] / "charts/arks"
WEIGHTS = b"GGUF" + os.urandom(3_000_000)
FILES = {"README.md": b"# Tiny", "tiny.gguf": WEIGHTS}
TOTAL_BYTES = sum(map(len, FILES.values()))
OTHERS = "models.arks.ai/of-another-release"
NODES = ("node-a", "node-b")
SOURCE: dict[str, Any] = {"source": {"huggingface": {}}, "storage": {"pvc": {"spec": PVC_SPEC}}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kube(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with cluster(tmp_path_factory.mktemp("kube"), CRDS) as kube:
        for name in NODES:
            labels = {"pool": name, OTHERS: "another-release"}
            metadata = {"name": name, "namespace": "", "labels": labels}
            await kube.api.create(
                NODE, {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"unschedulable": True}}
            )
        yield kube


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disks of the nodes, and the file with the key."""
    made = tmp_path_factory.mktemp("nodes")
    (made / "key").write_text("a-key-of-the-installation")
    return made


@asynccontextmanager
async def agent_on(kube: Cluster, node: str, namespace: str, directory: Path, **settings: Any) -> AsyncIterator[Path]:
    """An agent in this process, and its pod as the API server shows it. Yields the directory of its disk."""
    disk = directory / namespace / node
    made = agent.build(agent_settings(disk, directory / "key", **settings))
    async with serving(made[0]) as port:
        key = Key(f"arks-of-{namespace}", f"agent-{node}")
        container = {"name": "agent", "image": "agent", "ports": [{"name": "node-cache", "containerPort": port}]}
        labels = {"app.kubernetes.io/component": "node-cache"}
        metadata = {"name": key.name, "namespace": key.namespace, "labels": labels}
        pod = {"metadata": metadata, "spec": {"nodeName": node, "containers": [container]}}
        await kube.api.create(POD, {"apiVersion": "v1", "kind": "Pod", **pod})
        status = {"phase": "Running", "podIP": "127.0.0.1"}
        await kube.api.merge(POD, key, {"status": status}, subresource="status")
        running = asyncio.create_task(made[1].run())
        try:
            yield disk
        finally:
            running.cancel()
            await asyncio.wait([running])
            await kube.api.delete(POD, key, grace_seconds=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kubeconfig(kube: Cluster, directory: Path) -> Path:
    """Of an account with the rights that the chart gives."""
    rendered = directory / "chart.yaml"
    values = ["--set", "nodeCache.enabled=true,secrets.generate=job"]
    rendered.write_text(helm("template", "arks", str(CHART), *values))
    return await account(kube, rendered)


@asynccontextmanager
async def running(
    kube: Cluster, kubeconfig: Path, bus: Server, namespace: str, *, hub: Hub, directory: Path, **settings: Any
) -> AsyncIterator[KubeService]:
    await make_namespace(kube, namespace)
    release = {"name": f"arks-of-{namespace}", "namespace": ""}
    await kube.api.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": release})
    caches = {
        "release_namespace": release["name"],
        "node_cache_key_file": directory / "key",
        "node_cache_dir": str(directory / "volumes"),
        "node_cache_seconds": 0.1,
        "node_cache_export_port": free_port(),
    }
    async with kube_service(kube, kubeconfig, bus, namespace, hub_endpoint=hub.url, **(caches | settings)) as service:
        yield service


def condition(status: ArksModelStatus) -> tuple[str, str]:
    found = [condition for condition in status.conditions if condition.type == "Cached"]
    return (found[0].reason, found[0].message) if found else ("", "")


def files(directory: Path) -> dict[str, bytes]:
    found = (file for file in directory.rglob("*") if file.is_file() and ".arks" not in file.parts)
    return {str(file.relative_to(directory)): file.read_bytes() for file in found}


async def test_two_nodes_get_a_copy_and_the_source_sees_each_byte_once(
    kube: Cluster, kubeconfig: Path, bus: Server, directory: Path
) -> None:
    async with (
        hub_server() as hub,
        running(kube, kubeconfig, bus, "team-a", hub=hub, directory=directory) as service,
        agent_on(kube, "node-a", "team-a", directory) as first,
        agent_on(kube, "node-b", "team-a", directory) as second,
    ):
        hub.add("acme/tiny", FILES)
        await service.apply("tiny", **SOURCE, cache={})
        status = await service.reaches("tiny", lambda status: condition(status)[0] == "Copied")
        assert ModelPhase.READY is status.phase
        assert status.cache is not None
        assert (2, 2) == (status.cache.nodes, status.cache.complete)
        assert [(node, TOTAL_BYTES, TOTAL_BYTES) for node in NODES] == [
            (copy.node, copy.done_bytes, copy.total_bytes) for copy in status.cache.copies
        ]
        for disk in (first, second):
            assert FILES == files(disk / "namespaces/team-a/models/team-a/tiny")
        assert TOTAL_BYTES == sum(hub.served_bytes.values())
        label = cache_label("team-a", "tiny")
        for node in NODES:
            await eventually(partial(_has_labels, kube, node, {label}), what=f"labels of {node}")
        assert CACHE_PVC == (await service.fact("tiny", lambda fact: fact.ready)).cache_claim_name
        await eventually(lambda: _bound(service), what="the PVC of copies")
        await _is_refused_elsewhere(kube, "arks-model-cache-team-a")
        volume = await kube.api.get(VOLUME, Key("", "arks-model-cache-team-a"))
        assert volume is not None
        assert str(directory / "volumes/namespaces/team-a") == volume["spec"]["hostPath"]["path"]
        await eventually(lambda: service.is_absent(JOB, "arks-export-tiny"), what="the end of the export")
        await eventually(lambda: _has_event(service, "Copied"), what="the Event")
        await service.delete("tiny")
        copies = [disk / "namespaces/team-a/models/team-a/tiny" for disk in (first, second)]
        await eventually(lambda: not any(copy.exists() for copy in copies), what="the end of the copies")
        for node in NODES:
            await eventually(partial(_has_labels, kube, node, set()), what=f"labels of {node}")
        await eventually(lambda: service.is_absent(PVC, CACHE_PVC), what="the end of the PVC of copies")
        await eventually(lambda: _is_absent(kube, "arks-model-cache-team-a"), what="the end of the volume")


async def test_a_copy_that_has_no_space_is_a_condition_and_the_model_stays_ready(
    kube: Cluster, kubeconfig: Path, bus: Server, directory: Path
) -> None:
    async with (
        hub_server() as hub,
        running(kube, kubeconfig, bus, "team-b", hub=hub, directory=directory) as service,
        agent_on(kube, "node-a", "team-b", directory, node_cache_high_percent=0, node_cache_low_percent=0),
    ):
        hub.add("acme/tiny", FILES)
        await service.apply("tiny", **SOURCE, cache={"nodeSelector": {"pool": "node-a"}})
        status = await service.reaches("tiny", lambda status: condition(status)[0] == "CopyFailed")
        assert ModelPhase.READY is status.phase
        assert "node-a: " in condition(status)[1]
        assert "needs 3.0 MB more" in condition(status)[1]


async def test_a_cache_that_the_chart_does_not_enable_has_a_condition(
    kube: Cluster, kubeconfig: Path, bus: Server, directory: Path
) -> None:
    async with (
        hub_server() as hub,
        running(kube, kubeconfig, bus, "team-c", hub=hub, directory=directory, node_cache_key_file=None) as service,
    ):
        hub.add("acme/tiny", FILES)
        await service.apply("tiny", **SOURCE, cache={})
        status = await service.reaches("tiny", ModelPhase.READY)
        assert "NodeCacheOff" == condition(status)[0]
        assert "" == (await service.fact("tiny", lambda fact: fact.ready)).cache_claim_name


async def _is_refused_elsewhere(kube: Cluster, volume: str) -> None:
    """A PVC of another namespace does not get the volume."""
    spec: dict[str, Any] = {"accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": volume}
    spec["resources"] = {"requests": {"storage": "1Mi"}}
    metadata = {"name": "theirs", "namespace": "default"}
    await kube.api.create(
        PVC, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    )

    async def refused() -> bool:
        events, _ = await kube.api.list(EVENT, "default")
        messages = [event["message"] for event in events if event["involvedObject"]["name"] == "theirs"]
        return any("already bound to a different claim" in message for message in messages)

    await eventually(refused, what="the refusal of the other namespace's PVC")
    found = await kube.api.get(PVC, Key("default", "theirs"))
    assert found is not None
    assert "Pending" == found["status"]["phase"]


async def _has_labels(kube: Cluster, node: str, expected: set[str]) -> bool:
    found = await kube.api.get(NODE, Key("", node))
    assert found is not None
    return {name for name in found["metadata"]["labels"] if name.startswith("models.arks.ai/")} == {*expected, OTHERS}


async def _is_absent(kube: Cluster, volume: str) -> bool:
    return await kube.api.get(VOLUME, Key("", volume)) is None


async def _bound(service: KubeService) -> bool:
    return bool((await service.get(PVC, CACHE_PVC)).get("status", {}).get("phase") == "Bound")


async def _has_event(service: KubeService, reason: str) -> bool:
    events, _ = await service.cluster.api.list(EVENT, service.namespace)
    return any(event["reason"] == reason for event in events)
