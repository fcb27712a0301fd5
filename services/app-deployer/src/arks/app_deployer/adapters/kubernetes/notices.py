"""Events on applications, as `kubectl describe` shows them, beside what the bus hears."""

import asyncio

import structlog

from arks.contracts.resources.meta import Resource
from arks.kit.errors import ArksError
from arks.kit.kube.events import KubeEvents

log = structlog.get_logger(__name__)

_WAITING = 1000


class KubeNotices:
    """Help for people: what cannot be written is dropped, and so is what comes when too much waits."""

    def __init__(self, events: KubeEvents) -> None:
        self._events = events
        self._queue: asyncio.Queue[tuple[Resource, str, str, bool]] = asyncio.Queue(_WAITING)

    def __call__(self, about: Resource, reason: str, message: str, *, warning: bool) -> None:
        if not self._queue.full():
            self._queue.put_nowait((about, reason, message, warning))

    async def run(self) -> None:
        while True:
            about, reason, message, warning = await self._queue.get()
            try:
                await self._events.emit(about, reason, message, warning=warning)
            except ArksError as error:
                log.info("event not written", about=f"{about.namespace}/{about.name}", error=str(error))
