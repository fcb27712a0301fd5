"""Write a model's fact and publish its events on the bus."""

from collections.abc import Callable

from arks.contracts.conditions import find_condition
from arks.contracts.facts import model_fact
from arks.contracts.resources import ArksModel, ArksModelStatus
from arks.events.v1.events_pb2 import DownloadProgress
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.facts import FactWriter
from arks.kit.key import Key, key_of
from arks.kit.resource_events import ResourceEvents
from arks.model_manager.domain.node_cache.report import CONDITION as CACHED

CACHE_VERBS = frozenset({"cached", "cache-failed"})
_CREATED = ("Created", "Accepted by model-manager")
"""Reason and message of the first event: that a model is ready is another one."""


class BusPublisher:
    def __init__(
        self,
        events: ResourceEvents,
        facts: FactWriter[ModelFact],
        pvc_of: Callable[[ArksModel], str] = lambda _: "",
        cache_pvc_of: Callable[[ArksModel], str] = lambda _: "",
    ) -> None:
        """`pvc_of`: name of the PVC that holds a model, on Kubernetes. `cache_pvc_of`: of copies; empty for none."""
        self._cache_pvc_of = cache_pvc_of
        self._events = events
        self._facts = facts
        self._pvc_of = pvc_of

    def write_fact(self, model: ArksModel, status: ArksModelStatus) -> None:
        names = {"pvc_name": self._pvc_of(model), "cache_pvc_name": self._cache_pvc_of(model)}
        self._facts.put(key_of(model), model_fact(model, status, **names))

    def publish_event(self, verb: str, model: ArksModel, status: ArksModelStatus, message: str | None = None) -> None:
        reason, ready_message = _CREATED if verb == "created" else condition_of(verb, status)
        self._events.publish(
            model,
            verb,
            reason=reason,
            message=ready_message if message is None else message,
            phase=status.phase,
            download=_progress(status),
        )

    def keep_fact(self, key: Key) -> None:
        self._facts.keep(key)

    def remove_fact(self, key: Key) -> None:
        if self._facts.get(key) is not None or self._facts.keeps(key):
            self._facts.remove(key)

    def complete_facts(self) -> None:
        self._facts.complete()


def condition_of(verb: str, status: ArksModelStatus) -> tuple[str, str]:
    """Reason and message of the condition that an event is about."""
    cached = find_condition(status.conditions, CACHED) if verb in CACHE_VERBS else None
    return (cached.reason, cached.message) if cached is not None else ready_condition(status)


def ready_condition(status: ArksModelStatus) -> tuple[str, str]:
    """Reason and message of the Ready condition, which explain the phase."""
    ready = find_condition(status.conditions, "Ready")
    return (ready.reason, ready.message) if ready is not None else ("", "")


def _progress(status: ArksModelStatus) -> DownloadProgress | None:
    progress = status.progress
    if progress is None:
        return None
    return DownloadProgress(
        done_bytes=progress.done_bytes,
        total_bytes=progress.total_bytes or 0,
        bytes_per_second=progress.bytes_per_second or 0,
        remaining_seconds=progress.remaining_seconds or 0,
    )
