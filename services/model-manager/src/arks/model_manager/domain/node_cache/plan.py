"""Decide which nodes keep copies of which models, and from where each copy is filled. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from arks.contracts.resources import CopyPhase
from arks.kit.key import Key
from arks.model_manager.domain.node_cache.copies import Copy, CopyState


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model that is Ready, and how its spec has it cached."""

    key: Key
    path: str
    """Of its directory in the volume of its namespace."""
    fingerprint: str
    revision: str
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes; empty: any node with an agent."""
    nodes: int | None = None
    """How many; None: all that have the labels."""

    def copy(self, sources: Sequence[str] = ()) -> Copy:
        return Copy(self.key.namespace, self.key.name, self.path, self.fingerprint, self.revision, tuple(sources))


@dataclass(frozen=True, slots=True)
class CacheNode:
    """A node with an agent."""

    name: str
    url: str
    """Base URL of its agent."""
    labels: Mapping[str, str] = field(default_factory=dict)
    reachable: bool = True
    """Whether the agent has answered the last request."""
    free_bytes: int = 0
    copies: Mapping[Key, CopyState] = field(default_factory=dict)
    """As of its last answer, by model."""

    def state_of(self, copy: Copy) -> CopyState | None:
        """Of this version of the copy."""
        state = self.copies.get(Key(copy.namespace, copy.model))
        return state if state is not None and state.version == copy.version else None

    def holds(self, copy: Copy) -> bool:
        state = self.state_of(copy)
        return state is not None and state.phase is CopyPhase.COMPLETE


@dataclass(frozen=True, slots=True)
class Plan:
    copies: Mapping[str, tuple[Copy, ...]]
    """By node: all copies that it keeps."""
    exports: frozenset[Key]
    """Models whose PVC has to be exported now."""


def plan(models: Sequence[CachedModel], nodes: Sequence[CacheNode], exports: Mapping[Key, str]) -> Plan:
    """`exports`: base URLs of the PVCs that are exported, by model; empty for those that do not serve yet."""
    kept: dict[str, list[Copy]] = {node.name: [] for node in nodes}
    wanted: set[Key] = set()
    for model in models:
        copy, chosen = model.copy(), chosen_nodes(model, nodes)
        holders = [node for node in nodes if node.reachable and node.holds(copy)]
        incomplete = [node for node in chosen if not node.holds(copy)]
        seed = None
        if incomplete and not holders:
            wanted.add(model.key)
            seed = min(incomplete, key=lambda node: _seed_rank(node, copy))
        for node in chosen:
            sources = [holder.url for holder in _in_turn(node, holders)]
            if node is seed and (url := exports.get(model.key)):
                sources = [url]
            kept[node.name].append(replace(copy, sources=tuple(sources)))
    return Plan({name: tuple(copies) for name, copies in kept.items()}, frozenset(wanted))


def chosen_nodes(model: CachedModel, nodes: Sequence[CacheNode]) -> list[CacheNode]:
    """The nodes that keep the model: those with a copy first, then those with most space."""
    fitting = [node for node in nodes if model.node_selector.items() <= node.labels.items()]
    ranked = sorted(fitting, key=lambda node: _rank(node, model))
    return ranked if model.nodes is None else ranked[: model.nodes]


def _rank(node: CacheNode, model: CachedModel) -> tuple[bool, bool, int, str]:
    """A copy counts in whatever version and phase: it does not move between nodes. A node whose agent does not answer
    keeps its copy, because agents restart; it gets no new one."""
    has_any = model.key in node.copies
    return not (node.reachable or has_any), not has_any, -node.free_bytes, node.name


def _seed_rank(node: CacheNode, copy: Copy) -> tuple[bool, bool, int, str]:
    """The node that fills from the PVC: the one that has most, unless it failed."""
    state = node.state_of(copy)
    failed = state is not None and state.phase is CopyPhase.FAILED
    return not node.reachable, failed, -(state.done_bytes if state is not None else 0), node.name


def _in_turn(node: CacheNode, holders: Sequence[CacheNode]) -> list[CacheNode]:
    """In another order for each node, so that the holders share the load."""
    others = [holder for holder in holders if holder.name != node.name]
    return sorted(others, key=lambda holder: hashlib.sha256(f"{node.name}/{holder.name}".encode()).digest())
