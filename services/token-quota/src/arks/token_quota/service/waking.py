"""Requests for endpoints without a ready replica: counted for the autoscaler that starts one, and when to retry."""

import asyncio
import math
from dataclasses import dataclass
from typing import Protocol

from arks.contracts.subjects import demand_subject
from arks.events.v1.facts_pb2 import ScalingFact
from arks.events.v1.load_pb2 import DemandReport
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.token_quota.domain.access import EndpointState

INTERVAL_SECONDS = 0.25
"""Between two reports of an endpoint."""
_MOST_ENDPOINTS = 10_000
"""Counted in an interval."""


class Publisher(Protocol):
    async def publish(self, subject: str, payload: bytes) -> None:
        """Never fails; without NATS the message is dropped."""


@dataclass(frozen=True, slots=True)
class _Waited:
    endpoint: Key
    model: str


class Waking:
    """Follows the facts of autoscalers. Endpoints that none scales are not counted."""

    def __init__(self, facts: Cache[ScalingFact], publisher: Publisher) -> None:
        self._facts = facts
        self._publisher = publisher
        self._served: dict[Key, tuple[Key, float]] = {}
        self._names: dict[Key, Key] = {}
        self._counts: dict[_Waited, int] = {}
        self._counted = asyncio.Event()
        facts.subscribe(self._changed)

    def retry_seconds(self, endpoint: Key, state: EndpointState) -> int | None:
        """Count a request for an endpoint that is not ready. Returns when its first replica should be ready; None if no
        autoscaler starts one.
        """
        seconds = self.start_seconds(endpoint, state)
        if seconds is None:
            return None
        waited = _Waited(endpoint, state.model)
        if waited in self._counts or len(self._counts) < _MOST_ENDPOINTS:
            self._counts[waited] = self._counts.get(waited, 0) + 1
            self._counted.set()
        return max(1, math.ceil(seconds))

    def start_seconds(self, endpoint: Key, state: EndpointState) -> float | None:
        """How long its first replica needs; None if no autoscaler starts one."""
        names = {Key(endpoint.namespace, endpoint.name), Key(endpoint.namespace, state.model)}
        found = next((self._served[name] for name in names if name in self._served), None)
        return None if found is None else found[1]

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._counted.wait()
            self._counted.clear()
            counts, self._counts = self._counts, {}
            for waited, refused in counts.items():
                key = waited.endpoint
                report = DemandReport(
                    namespace=key.namespace, endpoint=key.name, model=waited.model, refused=min(refused, 2**31)
                )
                await self._publisher.publish(demand_subject(key.namespace, key.name), report.SerializeToString())
            await asyncio.sleep(INTERVAL_SECONDS)

    def _changed(self, scaler: Key) -> None:
        before = self._names.pop(scaler, None)
        if before is not None and self._served.get(before, (None,))[0] == scaler:
            del self._served[before]
        fact = self._facts.get(scaler)
        if fact is not None and fact.served_model:
            name = Key(fact.namespace, fact.served_model)
            self._names[scaler] = name
            self._served[name] = (scaler, fact.start_seconds)
