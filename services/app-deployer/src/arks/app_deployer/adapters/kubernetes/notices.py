"""Kubernetes Events on applications, which `kubectl describe` shows."""

import asyncio

import structlog

from arks.contracts.resources import Resource
from arks.kit.errors import ArksError
from arks.kit.kube.events import KubeEvents

log = structlog.get_logger(__name__)

_WAITING = 1000


class KubeNotices:
    """Queue of Kubernetes Events; one that cannot be written or does not fit into the queue is dropped."""

    def __init__(self, events: KubeEvents) -> None:
        self._events = events
        self._queue: asyncio.Queue[tuple[Resource, str, str, bool]] = asyncio.Queue(_WAITING)

    def __call__(self, resource: Resource, reason: str, message: str, *, warning: bool) -> None:
        if not self._queue.full():
            self._queue.put_nowait((resource, reason, message, warning))

    async def run(self) -> None:
        while True:
            resource, reason, message, warning = await self._queue.get()
            try:
                await self._events.emit(resource, reason, message, warning=warning)
            except ArksError as error:
                log.info("event not written", resource=f"{resource.namespace}/{resource.name}", error=str(error))
