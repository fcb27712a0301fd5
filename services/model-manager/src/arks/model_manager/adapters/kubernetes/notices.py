"""Events on ArksModels, as `kubectl describe` shows them, beside what the bus hears."""

import asyncio

import structlog

from arks.contracts.resources import ArksModel, ArksModelStatus, ModelPhase
from arks.kit.errors import ArksError
from arks.kit.key import Key
from arks.kit.kube.events import KubeEvents
from arks.model_manager.adapters.publisher import why
from arks.model_manager.service.manager import Announcer

log = structlog.get_logger(__name__)

_WAITING = 1000
_TOLD = {"downloading": False, "ready": False, "failed": True}
"""Verbs of events that are worth an Event, and whether as a warning."""
_FAULTS = frozenset({"BoundFailed", "CreateWorkerPodFailed"})
"""Reasons for which a model waits without having failed: no verb says so, people want to know all the same."""


class KubeNotices:
    """An announcer that tells `others` the same. Events are help for people: what cannot be written is dropped."""

    def __init__(self, others: Announcer, events: KubeEvents) -> None:
        self._others = others
        self._events = events
        self._queue: asyncio.Queue[tuple[ArksModel, str, str, bool]] = asyncio.Queue(_WAITING)
        self._waits: dict[str, str] = {}
        """Model -> the fault that it waits for the end of."""

    def fact(self, model: ArksModel, status: ArksModelStatus) -> None:
        self._others.fact(model, status)
        reason, message = why(status)
        waits = status.phase is not ModelPhase.FAILED and reason in _FAULTS
        if self._waits.get(model.key) == (reason if waits else None):
            return
        self._waits.pop(model.key, None)
        if waits:
            self._waits[model.key] = reason
            self._put(model, reason, message, warning=True)

    def event(self, verb: str, model: ArksModel, status: ArksModelStatus, message: str | None = None) -> None:
        self._others.event(verb, model, status, message)
        if verb in _TOLD:
            self._put(model, *why(status), warning=_TOLD[verb])

    def _put(self, model: ArksModel, reason: str, message: str, *, warning: bool) -> None:
        if not self._queue.full():
            self._queue.put_nowait((model, reason, message, warning))

    def gone(self, key: Key) -> None:
        self._others.gone(key)
        self._waits.pop(str(key), None)

    def complete(self) -> None:
        self._others.complete()

    async def run(self) -> None:
        while True:
            model, reason, message, warning = await self._queue.get()
            try:
                await self._events.emit(model, reason, message, warning=warning)
            except ArksError as error:
                log.info("event not written", model=model.key, error=str(error))
