"""Queues events and sends them to NATS in the background, so that publishing never blocks or fails."""

import asyncio
import contextlib
import uuid
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from arks.contracts.subjects import EventKind, event_subject
from arks.events.v1.events_pb2 import ResourceEvent
from arks.kit.bus import NATS_ERRORS, Bus, to_json
from arks.kit.clock import Clock, SystemClock
from arks.kit.errors import Unavailable
from arks.kit.key import Key

_RETRY_SECONDS = 0.25
_FLUSH_SECONDS = 1.0


class EventPublisher(Protocol):
    def publish_event(
        self, kind: EventKind, verb: str, key: Key, event: ResourceEvent, event_id: str | None = None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _Outgoing:
    subject: str
    payload: bytes
    headers: dict[str, str]


class Outbox:
    """Sends events in order while `run` runs. A full outbox drops the oldest event and counts it."""

    def __init__(
        self, name: str, bus: Bus, max_messages: int, registry: CollectorRegistry, clock: Clock | None = None
    ) -> None:
        """`name`: the service, which is the source of its events."""
        self._name = name
        self._bus = bus
        self._clock = clock or SystemClock()
        self._messages: deque[_Outgoing] = deque(maxlen=max_messages)
        self._added = asyncio.Event()
        self._dropped = Counter(
            "arks_bus_events_dropped", "Events dropped because the outbox was full", registry=registry
        )
        waiting = Gauge("arks_bus_outbox_messages", "Events that wait for NATS", registry=registry)
        waiting.set_function(lambda: float(len(self._messages)))

    def publish_event(
        self, kind: EventKind, verb: str, key: Key, event: ResourceEvent, event_id: str | None = None
    ) -> None:
        """Queue a CloudEvent (binary mode). `event_id` makes a repeated publication one event."""
        if len(self._messages) == self._messages.maxlen:
            self._dropped.inc()
        headers = self._headers(kind, verb, key, event_id or str(uuid.uuid4()))
        subject = event_subject(kind, verb, key.namespace, key.name)
        self._messages.append(_Outgoing(subject, to_json(event), headers))
        self._added.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            while self._messages:
                await self._send(self._messages[0])
            self._added.clear()
            await self._added.wait()

    async def flush(self) -> None:
        """Send queued events for at most a second."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                while self._messages and self._bus.connected:
                    await self._send(self._messages[0])

    def _headers(self, kind: EventKind, verb: str, key: Key, event_id: str) -> dict[str, str]:
        return {
            "Nats-Msg-Id": event_id,
            "ce-id": event_id,
            "ce-specversion": "1.0",
            "ce-type": f"ai.arks.{kind}.{verb}.v1",
            "ce-source": f"/arks/{self._name}",
            "ce-subject": str(key),
            "ce-time": self._clock.now().isoformat(),
            "content-type": "application/json",
        }

    async def _send(self, outgoing: _Outgoing) -> None:
        try:
            await self._bus.jetstream.publish(outgoing.subject, outgoing.payload, headers=outgoing.headers)
        except (*NATS_ERRORS, Unavailable):
            await asyncio.sleep(_RETRY_SECONDS)
            return
        if self._messages and self._messages[0] is outgoing:
            self._messages.popleft()
