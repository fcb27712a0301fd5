"""Nodes with agents, volumes of namespaces, exports of PVCs and labels of nodes, through the API server."""

from collections.abc import Mapping, Sequence, Set

import structlog

from arks.contracts.names import CACHE_LABELS, CACHE_PVC
from arks.contracts.resources import ArksModel
from arks.kit.errors import Conflict, Invalid, NotFound, Unavailable
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import POD, Kind
from arks.kit.ports import authority
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.node_cache.agents import Agents
from arks.model_manager.adapters.kubernetes.node_cache.manifests import (
    EXPORT_LABEL,
    PORT_NAME,
    VOLUME_LABEL,
    CacheOptions,
    claim_manifest,
    export_manifest,
    export_name,
    owner_of,
    volume_manifest,
    volume_name,
)
from arks.model_manager.adapters.kubernetes.objects import JOB, PVC
from arks.model_manager.domain.node_cache.copies import AgentState, Copy
from arks.model_manager.domain.node_cache.plan import CacheNode

log = structlog.get_logger(__name__)

NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
VOLUME = Kind("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False)


class KubeCacheHome:
    def __init__(self, api: KubeApi, agents: Agents, options: CacheOptions, namespace: str | None) -> None:
        """`namespace`: the only one that is served; None: all."""
        self._api = api
        self._agents = agents
        self._options = options
        self._namespace = namespace
        self._prepared: set[tuple[str, str]] = set()
        """Namespaces and uids of models whose volume exists."""

    async def nodes(self) -> list[CacheNode]:
        pods, _ = await self._api.list(POD, self._options.release_namespace, labels=self._options.agents)
        urls = {pod["spec"]["nodeName"]: url for pod in pods if (url := _url(pod)) and "nodeName" in pod["spec"]}
        if not urls:
            return []
        found, _ = await self._api.list(NODE, None)
        labels = {node["metadata"]["name"]: node["metadata"].get("labels", {}) for node in found}
        return [CacheNode(name, urls[name], labels[name]) for name in sorted(urls) if name in labels]

    async def found(self, node: CacheNode) -> AgentState:
        return await self._agents.found(node)

    async def keep(self, node: CacheNode, copies: Sequence[Copy]) -> AgentState:
        return await self._agents.keep(node, copies)

    async def prepare(self, model: ArksModel) -> None:
        known = model.namespace, model.metadata.uid or ""
        if known in self._prepared:
            return
        await self._prepare_volume(model.namespace)
        await self._prepare_claim(model)
        self._prepared.add(known)

    async def _prepare_volume(self, namespace: str) -> None:
        key = Key("", volume_name(namespace))
        found = await self._api.get(VOLUME, key)
        if found is None:
            try:
                await self._api.create(VOLUME, volume_manifest(namespace, self._options))
            except Conflict:
                log.info("volume exists", volume=key.name)
            return
        if found["metadata"].get("labels", {}).get(VOLUME_LABEL) != self._options.release_namespace:
            raise Invalid(f"PersistentVolume {key.name} is not of this installation: delete it")
        if "deletionTimestamp" in found["metadata"]:
            raise Unavailable(f"PersistentVolume {key.name} is being deleted")
        if found.get("status", {}).get("phase") == "Released":  # of a PVC that was deleted; a new one may have it
            await self._api.merge(VOLUME, key, {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}})

    async def _prepare_claim(self, model: ArksModel) -> None:
        key = Key(model.namespace, CACHE_PVC)
        found = await self._api.get(PVC, key)
        if found is None:
            await self._api.create(PVC, claim_manifest(model))
            return
        metadata = found["metadata"]
        owners = metadata.get("ownerReferences", [])
        if all(owner["uid"] != model.metadata.uid for owner in owners):
            kept = [*owners, owner_of(model)]
            version = metadata["resourceVersion"]
            await self._api.merge(PVC, key, {"metadata": {"ownerReferences": kept, "resourceVersion": version}})

    async def exports(self) -> Mapping[Key, str]:
        jobs, _ = await self._api.list(JOB, self._namespace, labels=EXPORT_LABEL)
        if not jobs:
            return {}
        pods, _ = await self._api.list(POD, self._namespace, labels=EXPORT_LABEL)
        urls = {_model_of(pod): url for pod in pods if (url := _url(pod))}
        ended = {"Complete", "Failed"}
        exports = {}
        for job in jobs:
            conditions = job.get("status", {}).get("conditions", [])
            if any(condition["type"] in ended and condition["status"] == "True" for condition in conditions):
                await self.end_export(_model_of(job))
            elif "deletionTimestamp" not in job["metadata"]:
                exports[_model_of(job)] = urls.get(_model_of(job), "")
        return exports

    async def export(self, model: ArksModel) -> None:
        try:
            await self._api.create(JOB, export_manifest(model, self._options))
        except Conflict:
            log.info("export exists", model=model.key)

    async def end_export(self, key: Key) -> None:
        await self._api.delete(JOB, Key(key.namespace, export_name(key.name)))

    async def label(self, node: CacheNode, labels: Set[str]) -> None:
        ours = self._options.release_namespace  # other releases label nodes too
        present = {name for name, value in node.labels.items() if name.startswith(CACHE_LABELS) and value == ours}
        if present == labels:
            return
        changes = {**dict.fromkeys(present - labels), **dict.fromkeys(labels - present, ours)}
        try:
            await self._api.merge(NODE, Key("", node.name), {"metadata": {"labels": changes}})
        except NotFound:
            log.info("node is gone", node=node.name)

    async def clean(self, namespaces: Set[str]) -> None:
        volumes, _ = await self._api.list(VOLUME, None, labels=f"{VOLUME_LABEL}={self._options.release_namespace}")
        for volume in volumes:
            name, namespace = volume["metadata"]["name"], volume["spec"]["claimRef"]["namespace"]
            if volume.get("status", {}).get("phase") == "Released" and namespace not in namespaces:
                await self._api.delete(VOLUME, Key("", name))
        self._prepared = {known for known in self._prepared if known[0] in namespaces}


def _url(pod: Json) -> str:
    """Base URL of a pod that runs; empty for others."""
    status = pod.get("status", {})
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    numbers = [port["containerPort"] for port in ports if port.get("name") == PORT_NAME]
    runs = status.get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
    return f"http://{authority(status['podIP'], numbers[0])}" if runs and numbers and status.get("podIP") else ""


def _model_of(obj: Json) -> Key:
    return Key(obj["metadata"]["namespace"], obj["metadata"]["labels"][EXPORT_LABEL])
