"""Which nodes keep which copies, and where these come from."""

from dataclasses import replace

from arks.contracts.resources import CopyPhase
from arks.kit.key import Key
from arks.model_manager.domain.node_cache.copies import CopyState
from arks.model_manager.domain.node_cache.plan import CachedModel, CacheNode, chosen_nodes, plan

QWEN = Key("team-a", "qwen")
MODEL = CachedModel(QWEN, "models/team-a/qwen", "fingerprint", "commit")
EXPORT = {QWEN: "http://10.0.0.9:8095"}


def node(name: str, phase: CopyPhase | None = None, **fields: object) -> CacheNode:
    made = CacheNode(name, f"http://{name}:8095")
    if phase is not None:
        state = CopyState("team-a", "qwen", MODEL.copy().version, phase)
        made = replace(made, copies={QWEN: state})
    return replace(made, **fields)  # type: ignore[arg-type]


def sources(model: CachedModel, nodes: list[CacheNode], exports: dict[Key, str] = EXPORT) -> dict[str, tuple[str, ...]]:
    return {name: copies[0].sources for name, copies in plan([model], nodes, exports).copies.items() if copies}


def test_the_pvc_is_exported_while_no_node_has_a_whole_copy() -> None:
    assert plan([MODEL], [node("a"), node("b")], {}).exports == {QWEN}
    assert plan([MODEL], [node("a", CopyPhase.FILLING), node("b")], EXPORT).exports == {QWEN}
    assert plan([MODEL], [node("a", CopyPhase.COMPLETE), node("b")], EXPORT).exports == frozenset()
    assert plan([MODEL], [], {}).exports == frozenset()


def test_one_node_fills_from_the_pvc_and_the_others_wait() -> None:
    assert sources(MODEL, [node("a"), node("b"), node("c")]) == {"a": (EXPORT[QWEN],), "b": (), "c": ()}


def test_the_node_that_has_most_fills_from_the_pvc() -> None:
    filling = CopyState("team-a", "qwen", MODEL.copy().version, CopyPhase.FILLING, done_bytes=5)
    assert sources(MODEL, [node("a"), node("b", copies={QWEN: filling})]) == {"a": (), "b": (EXPORT[QWEN],)}


def test_another_node_fills_from_the_pvc_if_the_first_fails() -> None:
    assert sources(MODEL, [node("a", CopyPhase.FAILED), node("b")]) == {"a": (), "b": (EXPORT[QWEN],)}


def test_a_node_fills_from_every_other_node_with_a_whole_copy() -> None:
    nodes = [node("a", CopyPhase.COMPLETE), node("b", CopyPhase.COMPLETE), node("c"), node("d")]
    found = sources(MODEL, nodes)
    assert set(found["c"]) == set(found["d"]) == {"http://a:8095", "http://b:8095"}


def test_a_copy_of_another_version_is_no_source() -> None:
    old = CopyState("team-a", "qwen", "old", CopyPhase.COMPLETE)
    assert sources(MODEL, [node("a", copies={QWEN: old}), node("b")]) == {"a": (EXPORT[QWEN],), "b": ()}


def test_a_node_whose_agent_does_not_answer_is_no_source() -> None:
    nodes = [node("a", CopyPhase.COMPLETE, reachable=False), node("b")]
    assert sources(MODEL, nodes)["b"] == (EXPORT[QWEN],)


def test_only_nodes_with_the_labels_keep_a_copy() -> None:
    model = replace(MODEL, node_selector={"gpu": "h200"})
    nodes = [node("a", labels={"gpu": "h200", "zone": "1"}), node("b", labels={"gpu": "l4"}), node("c")]
    assert [chosen.name for chosen in chosen_nodes(model, nodes)] == ["a"]


def test_nodes_with_a_copy_keep_it_and_those_with_most_space_get_the_next() -> None:
    model = replace(MODEL, nodes=2)
    nodes = [node("a", free_bytes=10), node("b", CopyPhase.FILLING, free_bytes=1), node("c", free_bytes=20)]
    assert [chosen.name for chosen in chosen_nodes(model, nodes)] == ["b", "c"]


def test_a_copy_does_not_move_when_its_agent_restarts() -> None:
    model = replace(MODEL, nodes=1)
    nodes = [node("a", CopyPhase.COMPLETE, reachable=False), node("b", free_bytes=100)]
    assert [chosen.name for chosen in chosen_nodes(model, nodes)] == ["a"]


def test_nothing_is_kept_of_a_model_that_is_not_listed() -> None:
    assert plan([], [node("a", CopyPhase.COMPLETE)], {}).copies == {"a": ()}
