"""Hold requests for endpoints without a ready replica, and let them pass as its engines take them."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from arks.contracts.load import STALE_SECONDS
from arks.contracts.subjects import demand_subject
from arks.events.v1.facts_pb2 import EndpointFact
from arks.events.v1.load_pb2 import DemandReport, LoadReport, ReplicaLoad
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.token_quota.domain.holding import Bounds, Load, Queues, room
from arks.token_quota.service.waking import Publisher

REPORT_SECONDS: Final = 0.5
"""Between two demand reports of an endpoint."""
_UNSEEN_SECONDS = 0.5
"""Until a request that passes is in a load report."""


class Loads(Protocol):
    def follow(
        self, applications: Iterable[Key], take: Callable[[LoadReport], None]
    ) -> AbstractAsyncContextManager[None]:
        """Call `take` with each load report of the applications until the end of the context."""


@dataclass(slots=True)
class _Crowd:
    """The requests of one endpoint, from the first that waits to the last."""

    model: str
    since: float
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    loads: dict[str, tuple[float, Load]] = field(default_factory=dict)
    released: deque[float] = field(default_factory=lambda: deque(maxlen=4096))
    reported_at: float | None = None


class Holding:
    def __init__(
        self,
        endpoints: Cache[EndpointFact],
        loads: Loads,
        publisher: Publisher,
        *,
        holder: str,
        bounds: Bounds,
        seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`holder`: this replica's name in demand reports. `seconds`: the longest that a request waits."""
        self.seconds = seconds
        self._endpoints = endpoints
        self._loads = loads
        self._publisher = publisher
        self._holder = holder
        self._monotonic = monotonic
        self._queues: Queues[asyncio.Future[None]] = Queues(bounds)
        self._crowds: dict[Key, _Crowd] = {}
        self._joined = asyncio.Event()
        endpoints.subscribe(self._changed)

    def has_queue(self, endpoint: Key) -> bool:
        """Whether requests wait, so that another one has to wait behind them."""
        return endpoint in self._crowds

    def has_room(self, endpoint: Key) -> bool:
        return self._queues.has_room(endpoint)

    async def wait(self, endpoint: Key, model: str) -> bool:
        """Wait for this request's turn. False if there is no room, or no turn in time. A cancelled caller is
        removed from the queue at once.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._queues.join(endpoint, turn):
            return False
        self._crowds.setdefault(endpoint, _Crowd(model, self._monotonic())).changed.set()
        self._joined.set()
        try:
            async with asyncio.timeout(self.seconds):
                await turn
        except TimeoutError:
            return False
        finally:
            self._queues.remove(endpoint, turn)
            if crowd := self._crowds.get(endpoint):
                crowd.changed.set()
        return True

    async def run(self) -> None:
        """Let requests pass until cancelled."""
        serving: set[Key] = set()

        async def serve(endpoint: Key) -> None:
            try:
                await self._serve(endpoint, self._crowds[endpoint])
            finally:
                serving.discard(endpoint)

        async with asyncio.TaskGroup() as group:
            while True:
                await self._joined.wait()
                self._joined.clear()
                for endpoint in self._crowds.keys() - serving:
                    serving.add(endpoint)
                    group.create_task(serve(endpoint), name=f"held {endpoint}")

    async def _serve(self, endpoint: Key, crowd: _Crowd) -> None:
        while self._queues.waiting(endpoint):
            applications = self._applications(endpoint)
            if not applications:
                await self._pause(endpoint, crowd)
                continue
            async with self._loads.follow(applications, lambda report: self._take(crowd, report)):
                while self._queues.waiting(endpoint) and self._applications(endpoint) == applications:
                    self._release(endpoint, crowd)
                    await self._pause(endpoint, crowd)
        del self._crowds[endpoint]  # with no await since the queue was empty
        await self._publish(endpoint, crowd, 0)

    def _applications(self, endpoint: Key) -> set[Key]:
        """Of a ready endpoint; none while it is not ready."""
        fact = self._endpoints.get(endpoint)
        if fact is None or not fact.ready:
            return set()
        return {Key(endpoint.namespace, replica.application) for replica in fact.replicas}

    def _release(self, endpoint: Key, crowd: _Crowd) -> None:
        fact, now = self._endpoints.get(endpoint), self._monotonic()
        replicas = 1 if fact is None else max(1, sum(replica.weight > 0 for replica in fact.replicas))
        current = [(at, load) for at, load in crowd.loads.values() if now - at < STALE_SECONDS]
        since = min((at for at, _ in current), default=now) - _UNSEEN_SECONDS
        count = room(replicas, _sum(load for _, load in current), sum(at >= since for at in crowd.released))
        for turn in self._queues.take(endpoint, count):
            if not turn.done():
                turn.set_result(None)
                crowd.released.append(now)

    async def _pause(self, endpoint: Key, crowd: _Crowd) -> None:
        """Until something changes, at most until the next report is due, which it publishes."""
        now = self._monotonic()
        if crowd.reported_at is None or now - crowd.reported_at >= REPORT_SECONDS:
            crowd.reported_at = now
            await self._publish(endpoint, crowd, self._queues.waiting(endpoint))
        with suppress(TimeoutError):
            async with asyncio.timeout(REPORT_SECONDS):
                await crowd.changed.wait()
        crowd.changed.clear()

    async def _publish(self, endpoint: Key, crowd: _Crowd, held: int) -> None:
        report = DemandReport(
            namespace=endpoint.namespace,
            endpoint=endpoint.name,
            model=crowd.model,
            held=held,
            holder=self._holder,
            held_seconds=self._monotonic() - crowd.since if held else 0.0,
        )
        await self._publisher.publish(demand_subject(endpoint.namespace, endpoint.name), report.SerializeToString())

    def _take(self, crowd: _Crowd, report: LoadReport) -> None:
        crowd.loads[report.application] = (self._monotonic(), load_of(report))
        crowd.changed.set()

    def _changed(self, endpoint: Key) -> None:
        if crowd := self._crowds.get(endpoint):
            crowd.changed.set()


def load_of(report: LoadReport) -> Load:
    """Return the sums over the engines that report."""
    engines = (replica for replica in report.replicas if not replica.problem)
    loads = [
        Load(engine.running_requests, engine.waiting_requests, _slots(engine), engine.drain_rate_per_second)
        for engine in engines
    ]
    return _sum(loads) or Load()


def _slots(engine: ReplicaLoad) -> int:
    """Return the slots that can be in use: while requests wait, those that are. A full KV cache may allow no more."""
    return min(engine.slots, math.ceil(engine.running_requests)) if engine.waiting_requests else engine.slots


def _sum(loads: Iterable[Load]) -> Load | None:
    """None without any. The slots of all are unknown if those of one are."""
    found = list(loads)
    if not found:
        return None
    slots = [load.slots for load in found]
    return Load(
        sum(load.running for load in found),
        sum(load.waiting for load in found),
        sum(slots) if all(slots) else 0,
        sum(load.drain_per_second for load in found),
    )
