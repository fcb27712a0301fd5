"""Resources that the API server has taken and we cannot read: a CRD cannot say everything that our types say.

They are as if absent, and their status is not written; an Event tells their owner why.
"""

import asyncio

import structlog
from pydantic import ValidationError

from arks.contracts.manifests.messages import field_path, sentence
from arks.contracts.resources.meta import Resource
from arks.kit.errors import ArksError
from arks.kit.kube.api import Json
from arks.kit.kube.events import KubeEvents

log = structlog.get_logger(__name__)

INVALID_SPEC = "InvalidSpec"
_WAITING = 100


class Misread:
    def __init__(self, events: KubeEvents, leading: asyncio.Event) -> None:
        """`leading`: every replica of a service reads the same, one of them says so."""
        self._events = events
        self._leading = leading
        self._queue: asyncio.Queue[tuple[Json, str]] = asyncio.Queue(_WAITING)

    def __call__(self, obj: Json, why: str) -> None:
        """Must not block; what comes when too much waits is dropped."""
        if not self._queue.full():
            self._queue.put_nowait((obj, why))

    async def run(self) -> None:
        await self._leading.wait()
        while True:
            obj, why = await self._queue.get()
            try:
                await self._events.emit_on(obj, INVALID_SPEC, why, warning=True)
            except ArksError as error:
                log.info("event not written", name=obj["metadata"]["name"], error=str(error))


def explained(error: ValidationError, kind: type[Resource]) -> str:
    """What is wrong with which fields, without the values of secrets."""
    findings = error.errors(include_url=False, include_context=True)
    return "; ".join(f"{field_path(one['loc'])}: {sentence(one, kind)}" for one in findings)
