"""What the status of a model has about its copies. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from arks.contracts.resources import CopyPhase, ModelCache, ModelCacheStatus, NodeCopy
from arks.model_manager.domain.decision import Verdict
from arks.model_manager.domain.node_cache.plan import CachedModel, CacheNode, chosen_nodes

CONDITION = "Cached"
COPY_FAILED = "CopyFailed"
_MOST_COPIES = 100
_ORDER = (CopyPhase.FAILED, CopyPhase.FILLING, CopyPhase.WAITING, CopyPhase.COMPLETE)


@dataclass(frozen=True, slots=True)
class CacheReport:
    verdict: Verdict
    status: ModelCacheStatus | None = None


def is_wanted(cache: ModelCache | None, now: datetime) -> bool:
    return cache is not None and (cache.keep_until is None or now < cache.keep_until)


SWITCHED_OFF = CacheReport(
    Verdict(False, "NodeCacheOff", "spec.cache has no effect: nodeCache.enabled of the chart is false")
)
NO_SOURCE = CacheReport(
    Verdict(False, "NoSource", "spec.source is absent, so nothing shows which files the model has: no copies are made")
)
EXPIRED = CacheReport(Verdict(False, "Expired", "spec.cache.keepUntil is over: copies are removed"))
MODEL_LOADING = CacheReport(Verdict(False, "ModelLoading", "copies are made when the model is ready"))


def report_of(model: CachedModel, nodes: Sequence[CacheNode]) -> CacheReport:
    """`nodes`: as of their last answers."""
    copies = sorted((_copy_on(node, model) for node in chosen_nodes(model, nodes)), key=_order)
    complete = sum(copy.phase is CopyPhase.COMPLETE for copy in copies)
    status = ModelCacheStatus(nodes=len(copies), complete=complete, copies=copies[:_MOST_COPIES])
    return CacheReport(_verdict(model, copies, complete), status)


def _copy_on(node: CacheNode, model: CachedModel) -> NodeCopy:
    state = node.state_of(model.copy())
    if state is None:
        return NodeCopy(node=node.name, phase=CopyPhase.WAITING, message=_silence(node))
    return NodeCopy(
        node=node.name,
        phase=state.phase,
        done_bytes=state.done_bytes,
        total_bytes=state.total_bytes or None,
        message=state.message or _silence(node),
    )


def _silence(node: CacheNode) -> str | None:
    return None if node.reachable else "its agent does not answer"


def _verdict(model: CachedModel, copies: Sequence[NodeCopy], complete: int) -> Verdict:
    if not copies:
        labels = ", ".join(f"{name}={value}" for name, value in sorted(model.node_selector.items()))
        return Verdict(False, "NoNodes", f"no node with an agent has the labels {labels}" if labels else _NO_AGENT)
    failed = [copy for copy in copies if copy.phase is CopyPhase.FAILED]
    if failed:
        more = f" (and {len(failed) - 1} more nodes)" if len(failed) > 1 else ""
        return Verdict(False, COPY_FAILED, f"{failed[0].node}{more}: {failed[0].message}")
    if complete < len(copies):
        return Verdict(False, "Filling", f"{complete} of {len(copies)} nodes have the model")
    if model.nodes is not None and len(copies) < model.nodes:
        message = f"only {len(copies)} of {model.nodes} nodes can keep the model: all of them have it"
        return Verdict(False, "TooFewNodes", message)
    return Verdict(True, "Copied", f"{complete} node(s) have the model")


def _order(copy: NodeCopy) -> tuple[int, str]:
    return _ORDER.index(copy.phase), copy.node


_NO_AGENT = "no node has an agent: nodeCache.nodeSelector of the chart selects none"
