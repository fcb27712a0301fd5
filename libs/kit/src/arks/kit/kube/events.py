"""Kubernetes Events on objects, as `kubectl describe` shows them. Repeats are counted on one Event."""

import asyncio
import contextlib
import hashlib

import structlog

from arks.contracts.resources import Resource
from arks.kit.clock import Clock
from arks.kit.errors import ArksError, Conflict, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi, key_of_object
from arks.kit.kube.kinds import EVENT
from arks.kit.types import Json

_MESSAGE_CHARACTERS = 1000
_MAX_WAITING = 1000

log = structlog.get_logger(__name__)


class KubeEvents:
    def __init__(self, api: KubeApi, component: str, clock: Clock) -> None:
        self._api = api
        self._component = component
        self._clock = clock

    async def emit(self, about: Resource, reason: str, message: str, *, warning: bool = False) -> None:
        """Write a Kubernetes Event on a resource. Raises ArksError; callers go on, as Events only inform users."""
        await self.emit_on(_object_of(about), reason, message, warning=warning)

    async def emit_on(self, obj: Json, reason: str, message: str, *, warning: bool = False) -> None:
        """As `emit`, on an object of the API server. Raises ArksError."""
        about = obj["metadata"]
        now = self._clock.now().isoformat(timespec="seconds").replace("+00:00", "Z")
        message = message[:_MESSAGE_CHARACTERS]
        digest = hashlib.sha256(f"{about['uid']}{reason}{message}".encode()).hexdigest()[:16]
        key = Key(about["namespace"], f"{about['name']}.{digest}")
        event = self._event(obj, key, reason=reason, message=message, now=now, warning=warning)
        try:
            await self._api.create(EVENT, event)
        except Conflict:
            known = await self._api.get(EVENT, key) or {}
            with contextlib.suppress(NotFound):
                await self._api.merge(EVENT, key, {"count": known.get("count", 1) + 1, "lastTimestamp": now})

    def _event(self, obj: Json, key: Key, *, reason: str, message: str, now: str, warning: bool) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "involvedObject": {
                "apiVersion": obj["apiVersion"],
                "kind": obj["kind"],
                **{field: obj["metadata"][field] for field in ("name", "namespace", "uid")},
            },
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": self._component},
            "reportingComponent": self._component,
        }


class KubeEventQueue:
    """Writes Kubernetes Events in the background; drops those that fail, and new ones when too many wait."""

    def __init__(
        self, events: KubeEvents, leading: asyncio.Event | None = None, *, max_waiting: int = _MAX_WAITING
    ) -> None:
        """`leading`: nothing is written before it, because every replica queues the same Events and one writes them."""
        self._events = events
        self._leading = leading
        self._queue: asyncio.Queue[tuple[Json, str, str, bool]] = asyncio.Queue(max_waiting)

    def put(self, about: Resource, reason: str, message: str, *, warning: bool = False) -> None:
        """Queue a Kubernetes Event on a resource. Does not block."""
        self.put_on(_object_of(about), reason, message, warning=warning)

    def put_on(self, obj: Json, reason: str, message: str, *, warning: bool = False) -> None:
        """As `put`, on an object of the API server."""
        if not self._queue.full():
            self._queue.put_nowait((obj, reason, message, warning))

    async def run(self) -> None:
        if self._leading is not None:
            await self._leading.wait()
        while True:
            obj, reason, message, warning = await self._queue.get()
            try:
                await self._events.emit_on(obj, reason, message, warning=warning)
            except ArksError as error:
                log.info("event not written", about=str(key_of_object(obj)), error=str(error))


def _object_of(resource: Resource) -> Json:
    metadata = {"name": resource.name, "namespace": resource.namespace, "uid": resource.metadata.uid}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
