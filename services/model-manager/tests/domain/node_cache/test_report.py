"""What a model's status has about its copies."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from arks.contracts.resources import CopyPhase, ModelCache
from arks.kit.key import Key
from arks.model_manager.domain.node_cache.copies import CopyState
from arks.model_manager.domain.node_cache.plan import CachedModel, CacheNode
from arks.model_manager.domain.node_cache.report import is_wanted, report_of

QWEN = Key("team-a", "qwen")
MODEL = CachedModel(QWEN, "models/team-a/qwen", "fingerprint", "commit")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def node(name: str, phase: CopyPhase | None = None, message: str = "", *, reachable: bool = True) -> CacheNode:
    state = CopyState("team-a", "qwen", MODEL.copy().version, phase or CopyPhase.WAITING, 5, 10, message)
    return CacheNode(name, f"http://{name}", copies={QWEN: state} if phase else {}, reachable=reachable)


COMPLETE = node("a", CopyPhase.COMPLETE)
FAILED = node("b", CopyPhase.FAILED, "no space")


@pytest.mark.parametrize(
    ("model", "nodes", "expected"),
    [
        (MODEL, [COMPLETE], (True, "Copied", "1 node(s) have the model")),
        (MODEL, [COMPLETE, node("b", CopyPhase.FILLING)], (False, "Filling", "1 of 2 nodes have the model")),
        (MODEL, [COMPLETE, FAILED], (False, "CopyFailed", "b: no space")),
        (MODEL, [FAILED, replace(FAILED, name="c")], (False, "CopyFailed", "b (and 1 more nodes): no space")),
        (
            replace(MODEL, nodes=2),
            [COMPLETE],
            (False, "TooFewNodes", "only 1 of 2 nodes can keep the model: all of them have it"),
        ),
        (
            replace(MODEL, node_selector={"gpu": "h200"}),
            [COMPLETE],
            (False, "NoNodes", "no node with an agent has the labels gpu=h200"),
        ),
        (MODEL, [], (False, "NoNodes", "no node has an agent: nodeCache.nodeSelector of the chart selects none")),
    ],
)
def test_the_condition_explains_the_copies(
    model: CachedModel, nodes: list[CacheNode], expected: tuple[bool, str, str]
) -> None:
    verdict = report_of(model, nodes).verdict
    assert (verdict.ok, verdict.reason, verdict.message) == expected


def test_the_status_lists_nodes_with_bytes_and_those_with_faults_first() -> None:
    status = report_of(MODEL, [COMPLETE, FAILED, node("c", CopyPhase.FILLING, reachable=False)]).status
    assert status is not None
    assert (status.nodes, status.complete) == (3, 1)
    assert [(copy.node, copy.phase, copy.done_bytes, copy.total_bytes) for copy in status.copies] == [
        ("b", CopyPhase.FAILED, 5, 10),
        ("c", CopyPhase.FILLING, 5, 10),
        ("a", CopyPhase.COMPLETE, 5, 10),
    ]
    assert status.copies[1].message == "its agent does not answer"


def test_copies_are_wanted_until_their_time_is_over() -> None:
    assert not is_wanted(None, NOW)
    assert is_wanted(ModelCache(), NOW)
    assert is_wanted(ModelCache(keep_until=NOW + timedelta(seconds=1)), NOW)
    assert not is_wanted(ModelCache(keep_until=NOW), NOW)
