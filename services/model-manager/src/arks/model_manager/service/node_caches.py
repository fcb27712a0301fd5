"""Keep copies of models on nodes: observe the nodes, plan, send each agent its list, and remember the states."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from arks.contracts.names import cache_label
from arks.contracts.resources import ArksModel, ModelPhase
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.errors import ArksError
from arks.kit.key import Key, key_of
from arks.model_manager.domain.node_cache import report as reports
from arks.model_manager.domain.node_cache.copies import AgentState, Copy, CopyState
from arks.model_manager.domain.node_cache.plan import CachedModel, CacheNode, plan
from arks.model_manager.domain.node_cache.report import CacheReport
from arks.model_manager.domain.weights_source import weights_source_of
from arks.model_manager.service.ports import CacheHome

log = structlog.get_logger(__name__)


class NodeCaches:
    def __init__(
        self,
        home: CacheHome,
        models: Cache[ArksModel],
        clock: Clock,
        *,
        path_of: Callable[[ArksModel], str],
        default_endpoint: str,
        seconds: float,
    ) -> None:
        """`path_of`: of a model's directory in its volume. `seconds`: between two lists that an agent gets."""
        self._home = home
        self._models = models
        self._clock = clock
        self._path_of = path_of
        self._default_endpoint = default_endpoint
        self._seconds = seconds
        self._nodes: dict[str, CacheNode] = {}
        self._cached: dict[Key, CachedModel] = {}
        """As of when each model was Ready last: a model that is fetched again keeps its copies."""
        self._reports: dict[Key, CacheReport] = {}
        self.changed: Callable[[Key], None] = lambda _: None
        """Called with a model whose report changed."""

    async def prepare(self, model: ArksModel) -> None:
        """Create the volume through which engines read copies, before their pods name it. Raises ArksError."""
        if model.spec.cache is not None:
            await self._home.prepare(model)

    def report(self, model: ArksModel) -> CacheReport | None:
        """For the model's status; None if its spec wants no copies."""
        if model.spec.cache is None:
            return None
        if model.spec.source is None:
            return reports.NO_SOURCE
        if not reports.is_wanted(model.spec.cache, self._clock.now()):
            return reports.EXPIRED
        return self._reports.get(key_of(model), reports.MODEL_LOADING)

    async def run(self) -> None:
        """Until it is cancelled. A fault of the API server ends one round."""
        while True:
            try:
                await self.round()
            except ArksError as error:
                log.warning("node caches not updated", error=str(error))
            await asyncio.sleep(self._seconds)

    async def round(self) -> None:
        """Raises ArksError."""
        cached = self._update_cached()
        nodes = await self._observed_nodes()
        exports = await self._home.exports()
        planned = plan(list(cached.values()), nodes, exports)
        states = await asyncio.gather(*(self._keep(node, planned.copies[node.name]) for node in nodes))
        self._nodes = {node.name: node for node in states}
        for key in planned.exports - exports.keys():
            if (model := self._models.get(key)) is not None:
                await self._home.export(model)
        for key in exports.keys() - planned.exports:
            await self._home.end_export(key)
        await self._label(states)
        await self._home.clean({key.namespace for key in cached})
        self._report(cached, states)

    async def _observed_nodes(self) -> list[CacheNode]:
        """With the states of their last answers."""
        return list(await asyncio.gather(*map(self._observed, await self._home.nodes())))

    async def _observed(self, node: CacheNode) -> CacheNode:
        """A plan without the copies that exist would move them, so a new node is queried before."""
        known = self._nodes.get(node.name)
        if known is not None:
            return replace(node, copies=known.copies, free_bytes=known.free_bytes, reachable=known.reachable)
        try:
            state = await self._home.found(node)
        except ArksError as error:
            log.info("agent does not answer", node=node.name, error=str(error))
            return replace(node, reachable=False)
        return replace(node, copies=_by_model(state), free_bytes=state.free_bytes)

    async def _keep(self, node: CacheNode, copies: tuple[Copy, ...]) -> CacheNode:
        try:
            state = await self._home.keep(node, copies)
        except ArksError as error:
            log.info("agent does not answer", node=node.name, error=str(error))
            return replace(node, reachable=False)
        return replace(node, reachable=True, copies=_by_model(state), free_bytes=state.free_bytes)

    async def _label(self, nodes: list[CacheNode]) -> None:
        for node in nodes:
            if not node.reachable:
                continue
            held = [model for model in self._cached.values() if node.holds(model.copy())]
            await self._home.label(node, {cache_label(model.key.namespace, model.key.name) for model in held})

    def _report(self, cached: Mapping[Key, CachedModel], nodes: list[CacheNode]) -> None:
        now = {key: reports.report_of(model, nodes) for key, model in cached.items()}
        changed = {key for key in now.keys() | self._reports.keys() if now.get(key) != self._reports.get(key)}
        self._reports = now
        for key in sorted(changed):
            self.changed(key)

    def _update_cached(self) -> Mapping[Key, CachedModel]:
        wanted: dict[Key, CachedModel] = {}
        for key, model in self._models.items():
            if model.metadata.deletion_timestamp is None and reports.is_wanted(model.spec.cache, self._clock.now()):
                made = self._cached_model(key, model) or self._cached.get(key)
                if made is not None:
                    wanted[key] = made
        self._cached = wanted
        return wanted

    def _cached_model(self, key: Key, model: ArksModel) -> CachedModel | None:
        """None for a model that is not Ready, or whose status is of an earlier spec."""
        cache, status = model.spec.cache, model.status
        if cache is None or status is None or status.phase is not ModelPhase.READY or status.revision is None:
            return None
        if status.observed_generation != (model.metadata.generation or 0):
            return None
        source = weights_source_of(model.spec, self._default_endpoint)
        return CachedModel(
            key, self._path_of(model), source.fingerprint, status.revision, dict(cache.node_selector), cache.nodes
        )


def _by_model(state: AgentState) -> dict[Key, CopyState]:
    return {Key(copy.namespace, copy.model): copy for copy in state.copies}
