"""Rounds of the node caches, with a fake of the nodes."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import pytest

from arks.contracts.names import cache_label
from arks.contracts.resources import ArksModel, CopyPhase
from arks.kit.cache import Cache
from arks.kit.errors import Unavailable
from arks.kit.key import Key, key_of
from arks.kit.testing.clock import FakeClock
from arks.model_manager.domain.node_cache.copies import AgentState, Copy, CopyState
from arks.model_manager.domain.node_cache.plan import CacheNode
from arks.model_manager.service.node_caches import NodeCaches

TINY = Key("team-a", "tiny")
LABEL = cache_label("team-a", "tiny")


@dataclass
class FakeCacheHome:
    """Agents that fill a copy in the round after the one in which they got a source."""

    on_disk: dict[str, list[CopyState]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    labels: dict[str, Set[str]] = field(default_factory=dict)
    exported: dict[Key, str] = field(default_factory=dict)
    kept: dict[str, list[Copy]] = field(default_factory=dict)
    sources: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)

    async def nodes(self) -> list[CacheNode]:
        return [CacheNode(name, f"http://{name}", dict.fromkeys(self.labels.get(name, ()), "true")) for name in "ab"]

    async def found(self, node: CacheNode) -> AgentState:
        self._check(node)
        return AgentState(tuple(self.on_disk.get(node.name, [])))

    async def keep(self, node: CacheNode, copies: Sequence[Copy]) -> AgentState:
        self._check(node)
        self.kept[node.name] = list(copies)
        held = {(state.model, state.version) for state in self.on_disk.get(node.name, [])}
        states = []
        for copy in copies:
            if (copy.model, copy.version) not in held and copy.sources:
                self.sources.append((node.name, copy.sources))
                self.on_disk.setdefault(node.name, []).append(_state(copy, CopyPhase.COMPLETE))
                states.append(_state(copy, CopyPhase.FILLING))
            else:
                whole = (copy.model, copy.version) in held
                states.append(_state(copy, CopyPhase.COMPLETE if whole else CopyPhase.WAITING))
        return AgentState(tuple(states))

    def _check(self, node: CacheNode) -> None:
        if node.name in self.silent:
            raise Unavailable("no answer")

    async def prepare(self, model: ArksModel) -> None:
        self.prepared.append(model.namespace)

    async def exports(self) -> Mapping[Key, str]:
        return dict(self.exported)

    async def export(self, model: ArksModel) -> None:
        self.exported[key_of(model)] = "http://pvc"

    async def end_export(self, key: Key) -> None:
        del self.exported[key]

    async def label(self, node: CacheNode, labels: Set[str]) -> None:
        self.labels[node.name] = set(labels)

    async def clean(self, namespaces: Set[str]) -> None: ...


def _state(copy: Copy, phase: CopyPhase) -> CopyState:
    return CopyState(copy.namespace, copy.model, copy.version, phase, 10, 10)


def model(phase: str = "Ready", revision: str | None = "commit", *, cached: bool = True, **cache: Any) -> ArksModel:
    wanted = {"cache": cache} if cached else {}
    return ArksModel.from_dict(
        {
            "apiVersion": "arks.ai/v1",
            "kind": "ArksModel",
            "metadata": {"name": "tiny", "namespace": "team-a", "generation": 1},
            "spec": {"model": "acme/tiny", "source": {"huggingface": {}}, **wanted},
            "status": {"phase": phase, "observedGeneration": 1, **({"revision": revision} if revision else {})},
        }
    )


class Rounds:
    def __init__(self) -> None:
        self.home, self.models = FakeCacheHome(), Cache[ArksModel]()
        self.clock = FakeClock()
        self.caches = self.restarted()
        self.models.apply(TINY, model())

    def restarted(self) -> NodeCaches:
        self.caches = NodeCaches(
            self.home, self.models, self.clock, path_of=lambda _: "models/tiny", default_endpoint="h", seconds=5.0
        )
        return self.caches

    async def run(self, count: int) -> None:
        for _ in range(count):
            await self.caches.round()

    def reason(self) -> str:
        current = self.models.get(TINY)
        assert current is not None
        report = self.caches.report(current)
        return report.verdict.reason if report is not None else ""


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


async def test_one_node_reads_the_pvc_and_the_other_reads_that_node(rounds: Rounds) -> None:
    await rounds.run(5)
    assert rounds.home.sources == [("a", ("http://pvc",)), ("b", ("http://a",))]
    assert rounds.home.exported == {}
    assert rounds.home.labels == {"a": {LABEL}, "b": {LABEL}}
    assert rounds.reason() == "Copied"


async def test_a_model_is_reconciled_when_its_copies_change(rounds: Rounds) -> None:
    changed: list[Key] = []
    rounds.caches.changed = changed.append
    await rounds.run(6)
    assert set(changed) == {TINY}
    count = len(changed)
    await rounds.run(3)
    assert len(changed) == count


async def test_a_restart_moves_no_copy_and_exports_nothing(rounds: Rounds) -> None:
    rounds.models.apply(TINY, model(nodes=1))
    rounds.home.on_disk["b"] = []
    await rounds.run(3)
    holder = [name for name, copies in rounds.home.kept.items() if copies]
    rounds.home.exported.clear()
    rounds.restarted()
    await rounds.run(1)
    assert [name for name, copies in rounds.home.kept.items() if copies] == holder
    assert rounds.home.exported == {}
    assert len(rounds.home.sources) == 1


async def test_a_model_that_is_fetched_again_keeps_its_copies(rounds: Rounds) -> None:
    await rounds.run(5)
    rounds.models.apply(TINY, model("ModelLoading", None))
    await rounds.run(1)
    assert all(rounds.home.kept.values())


async def test_copies_go_when_the_spec_wants_none_any_longer(rounds: Rounds) -> None:
    await rounds.run(5)
    rounds.models.apply(TINY, None)
    await rounds.run(1)
    assert rounds.home.kept == {"a": [], "b": []}
    assert rounds.home.labels == {"a": set(), "b": set()}


async def test_copies_go_when_their_time_is_over(rounds: Rounds) -> None:
    rounds.models.apply(TINY, model(keepUntil=rounds.clock.now().isoformat()))
    await rounds.run(1)
    assert rounds.home.kept == {"a": [], "b": []}
    assert rounds.reason() == "Expired"


async def test_a_node_whose_agent_is_silent_keeps_its_label_and_delays_no_other(rounds: Rounds) -> None:
    await rounds.run(5)
    rounds.home.silent.add("a")
    await rounds.run(2)
    assert rounds.home.labels["a"] == {LABEL}
    assert rounds.reason() == "Copied"


async def test_the_volume_is_made_only_for_models_that_are_cached(rounds: Rounds) -> None:
    await rounds.caches.prepare(model(cached=False))
    assert rounds.home.prepared == []
    await rounds.caches.prepare(model())
    assert rounds.home.prepared == ["team-a"]
