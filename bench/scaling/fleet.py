"""Replicas in virtual time: slots with a queue each, start-up times, the replica with the fewest requests is next."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bench.scaling.loads import ENGINE, Request

PATIENCE_SECONDS = 60.0
"""A client without a first token hangs up then."""


@dataclass(slots=True)
class Replica:
    number: int
    """Its own: an id of Python's is used again, and a new replica would have the counters of a former one."""
    ready_at: float
    running: int = 0
    waiting: deque[Request] = field(default_factory=deque)
    draining: bool = False
    tokens: int = 0
    answers: deque[float] = field(default_factory=deque)

    @property
    def in_flight(self) -> int:
        return self.running + len(self.waiting)


@dataclass(frozen=True, slots=True)
class Record:
    """One answer, as the gateway logs it."""

    at: float
    first_token_seconds: float
    tokens: int


class Fleet:
    """`run` plays requests; `scale` sets the number of replicas; every `tick_seconds` the scaler looks."""

    def __init__(self, start_seconds: float, replicas: int) -> None:
        self.now = 0.0
        self._numbers = itertools.count()
        self.replicas = [Replica(next(self._numbers), 0.0) for _ in range(replicas)]
        self.start_seconds = start_seconds
        self.records: deque[Record] = deque()
        self.finished = self.tokens = 0
        self.changes: list[tuple[float, int]] = []
        self.replica_seconds = 0.0
        self._ends: list[tuple[float, int, Replica, Request]] = []
        self._order = itertools.count()

    @property
    def size(self) -> int:
        return sum(not replica.draining for replica in self.replicas)

    def ready(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.ready_at <= self.now and not replica.draining]

    def scale(self, wanted: int) -> None:
        size = self.size
        if wanted == size:
            return
        self.changes.append((self.now, wanted - size))
        for _ in range(wanted - size):
            self.replicas.append(Replica(next(self._numbers), self.now + self.start_seconds))
        by_work = sorted(
            (replica for replica in self.replicas if not replica.draining), key=lambda r: (-r.ready_at, r.in_flight)
        )
        for replica in by_work[: max(0, size - wanted)]:
            replica.draining = True

    def run(self, requests: Iterable[Request], seconds: float, tick_seconds: float, look: Callable[[], None]) -> None:
        arrivals = iter(requests)
        arrival = next(arrivals, None)
        tick = 0.0
        while tick <= seconds:
            while arrival is not None and arrival.at < tick:
                self._advance(arrival.at)
                self._dispatch(arrival)
                arrival = next(arrivals, None)
            self._advance(tick)
            look()
            self.replicas = [replica for replica in self.replicas if not replica.draining or replica.in_flight]
            self.replica_seconds += len(self.replicas) * tick_seconds
            tick += tick_seconds

    def _dispatch(self, request: Request) -> None:
        ready = self.ready()
        if ready:
            self._add(min(ready, key=lambda replica: replica.in_flight), request)

    def _add(self, replica: Replica, request: Request) -> None:
        if replica.running < ENGINE.slots:
            self._start(replica, request)
        else:
            replica.waiting.append(request)

    def _start(self, replica: Replica, request: Request) -> None:
        replica.running += 1
        request.first_token_seconds = self.now - request.at + ENGINE.first_seconds
        heapq.heappush(self._ends, (self.now + request.seconds, next(self._order), replica, request))

    def _advance(self, until: float) -> None:
        while self._ends and self._ends[0][0] <= until:
            self.now, _, replica, request = heapq.heappop(self._ends)
            replica.running -= 1
            replica.tokens += request.tokens
            replica.answers.append(self.now)
            self.finished += 1
            self.tokens += request.tokens
            self.records.append(Record(self.now, request.first_token_seconds, request.tokens))
            while replica.waiting and replica.running < ENGINE.slots:
                waiting = replica.waiting.popleft()
                if self.now - waiting.at < PATIENCE_SECONDS:
                    self._start(replica, waiting)
        self.now = until
