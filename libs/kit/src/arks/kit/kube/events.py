"""Events on objects, as `kubectl describe` shows them. Repeats within some minutes are counted on one Event."""

import contextlib
import hashlib

from arks.contracts.resources.meta import Resource
from arks.kit.clock import Clock
from arks.kit.errors import Conflict, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import Json, Kind, KubeApi

EVENT = Kind("", "v1", "Event", "events")
_MESSAGE_CHARACTERS = 1000


class KubeEvents:
    def __init__(self, api: KubeApi, component: str, clock: Clock) -> None:
        self._api = api
        self._component = component
        self._clock = clock

    async def emit(self, about: Resource, reason: str, message: str, *, warning: bool = False) -> None:
        """Raises ArksError; events help people, so callers let a failure pass."""
        metadata = {"name": about.name, "namespace": about.namespace, "uid": about.metadata.uid}
        obj = {"apiVersion": about.api_version, "kind": about.kind, "metadata": metadata}
        await self.emit_on(obj, reason, message, warning=warning)

    async def emit_on(self, obj: Json, reason: str, message: str, *, warning: bool = False) -> None:
        """As `emit`, on an object as the API server has it. Raises ArksError."""
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
