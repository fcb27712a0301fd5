"""Reports resources that the API server accepted and this version of Arks cannot read: a newer version wrote them.

Such a resource has no status of this version, so the report is made from the raw object: a Kubernetes Event, and the
condition Accepted.
"""

import asyncio

import structlog

from arks.contracts.resources import Condition, Status, readable_part
from arks.kit.clock import Clock
from arks.kit.errors import ArksError
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.events import KubeEvents
from arks.kit.kube.kinds import Kind
from arks.kit.reading import ACCEPTED, INVALID_SPEC, unaccepted
from arks.kit.types import Json

log = structlog.get_logger(__name__)

_MAX_WAITING = 100


class UnreadableResources:
    """`run` writes the reports once `leading` is set, because every replica reads the same objects."""

    def __init__(self, api: KubeApi, events: KubeEvents, leading: asyncio.Event, clock: Clock) -> None:
        self._api = api
        self._events = events
        self._leading = leading
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Kind, Json, str]] = asyncio.Queue(_MAX_WAITING)

    def __call__(self, kind: Kind, obj: Json, fault: str) -> None:
        """Does not block; drops the fault if too many wait."""
        if not self._queue.full():
            self._queue.put_nowait((kind, obj, fault))

    async def run(self) -> None:
        await self._leading.wait()
        while True:
            kind, obj, fault = await self._queue.get()
            try:
                await self._report(kind, obj, fault)
            except ArksError as error:
                log.info("unreadable resource not reported", about=str(key_of_object(obj)), error=str(error))

    async def _report(self, kind: Kind, obj: Json, fault: str) -> None:
        known, others = _conditions_of(obj)
        generation = obj["metadata"].get("generation")
        desired = unaccepted(known, fault, generation, now=self._clock.now())
        if desired == known:
            return
        about = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
        await self._events.emit_on(about, INVALID_SPEC, fault, warning=True)
        patch = {
            "metadata": {"resourceVersion": obj["metadata"]["resourceVersion"]},
            "status": {"conditions": [*others, *(condition.to_dict() for condition in desired)]},
        }
        await self._api.merge(kind, key_of_object(obj), patch, subresource="status")


def _conditions_of(obj: Json) -> tuple[list[Condition], list[Json]]:
    """The condition Accepted if there is one, and all others, which may be of a newer version, as they are."""
    status = obj.get("status")
    stored = status.get("conditions") if isinstance(status, dict) else None
    conditions = [entry for entry in stored if isinstance(entry, dict)] if isinstance(stored, list) else []
    accepted = [entry for entry in conditions if entry.get("type") == ACCEPTED]
    readable = Status.model_validate(readable_part(Status, {"conditions": accepted}), by_alias=True, extra="allow")
    return readable.conditions, [entry for entry in conditions if entry not in accepted]
