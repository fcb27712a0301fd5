"""What the nodes of a replica have: limits of its pods, and the memory of accelerators by the labels of nodes.

GPU feature discovery of NVIDIA and the labeller of AMD write those labels. Nodes without them are unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from arks.app_deployer.domain.fit import Hardware
from arks.app_deployer.domain.quantity import bytes_in
from arks.contracts.resources import ArksApplication, Runtime
from arks.kit.clock import Clock
from arks.kit.errors import ArksError
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind

log = structlog.get_logger(__name__)
NODE = Kind("", "v1", "Node", "nodes", namespaced=False)
NVIDIA, AMD = "nvidia.com/gpu.memory", "amd.com/gpu.vram"
_KEEP_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Node:
    labels: Mapping[str, str]
    accelerator_bytes: int


def parse_node(found: Mapping[str, Any]) -> Node:
    """Anything may be in a label: what is no number is 0."""
    labels = (found.get("metadata") or {}).get("labels") or {}
    texts = {name: text for name, text in labels.items() if isinstance(text, str)}
    mebibytes = texts.get(NVIDIA, "")
    if mebibytes.isascii() and mebibytes.isdigit():
        return Node(texts, int(mebibytes) << 20)
    return Node(texts, bytes_in(texts.get(AMD, "")))


class NodeHardware:
    """Reads nodes every few minutes. Without the right to, as in a release for one namespace, they are unknown."""

    def __init__(self, api: KubeApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._nodes: list[Node] = []
        self._read_at: float | None = None

    async def of(self, application: ArksApplication) -> Hardware:
        spec = application.spec.instance_spec
        limits = (spec.resources or {}).get("limits")
        memory = bytes_in(limits.get("memory")) if isinstance(limits, Mapping) else 0
        if application.spec.effective_runtime in {Runtime.LLAMACPP, Runtime.ARK}:
            return Hardware(memory_bytes=memory)
        selector = spec.node_selector or {}
        nodes = [node for node in await self._known() if selector.items() <= node.labels.items()]
        return Hardware(max((node.accelerator_bytes for node in nodes), default=0), memory)

    async def _known(self) -> list[Node]:
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at > _KEEP_SECONDS:
            self._read_at = now
            self._nodes = await self._read()
        return self._nodes

    async def _read(self) -> list[Node]:
        found: list[Node] = []
        try:
            for label in (NVIDIA, AMD):
                async for page, _ in self._api.pages(NODE, None, labels=label):
                    found += [parse_node(node) for node in page]
        except ArksError as error:
            log.info("nodes not read", error=str(error))
        return found
