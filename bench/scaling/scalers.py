"""What decides the number of replicas: Arks, a HorizontalPodAutoscaler on waiting requests, and an oracle."""

import math
import random
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from arks.metrics.domain.scaling.decision import Memory, decide
from arks.metrics.domain.scaling.doubt import ANSWERS_SECONDS, Signals, doubt
from arks.metrics.domain.scaling.observed import Observed
from arks.metrics.domain.scaling.policy import Objectives, Pace, Policy
from arks.metrics.domain.scaling.schedule import Bounds
from bench.scaling.fleet import Fleet, Replica
from bench.scaling.loads import ENGINE, Request, Scenario

MAXIMUM = 40
_RECORDS_SECONDS = 60.0
_FEWEST_RECORDS = 5


POLICY = Policy(1, MAXIMUM, Objectives(first_token_seconds=ENGINE.objective_seconds), down=Pace(300.0))


class Scaler(Protocol):
    tick_seconds: float

    def look(self, fleet: Fleet) -> None:
        """Measure the fleet and set its number of replicas."""


@dataclass
class Pages:
    """What engines report: running, waiting and tokens, perhaps falsely since `fault_at`."""

    fault: str
    fault_at: float
    _frozen: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def of(self, replica: Replica, now: float) -> tuple[int, int, int] | None:
        true = (replica.running, len(replica.waiting), replica.tokens)
        if not self.fault or now < self.fault_at:
            return true
        if self.fault == "frozen":
            return self._frozen.setdefault(replica.number, true)
        return (0, 0, 0) if self.fault == "zero" else None


@dataclass
class Arks:
    """The decision of `metrics`, from engines' pages and the gateway's records. Slots are not known."""

    pages: Pages
    tick_seconds: float = 5.0
    policy: Policy = field(default_factory=lambda: POLICY)
    memory: Memory = field(default_factory=Memory)
    why: str = ""
    _tokens: dict[int, tuple[float, int]] = field(default_factory=dict)

    def look(self, fleet: Fleet) -> None:
        seen = self._observed(fleet)
        bounds = Bounds(self.policy.minimum, self.policy.maximum)
        self.memory, decision = decide(self.policy, bounds, self.memory, seen, fleet.size)
        self.why = f"{decision.why}: {decision.message}"
        fleet.scale(decision.replicas)

    def _observed(self, fleet: Fleet) -> Observed:
        signals = [self._signals(replica, number, fleet.now) for number, replica in enumerate(fleet.ready())]
        while fleet.records and fleet.now - fleet.records[0].at > _RECORDS_SECONDS:
            fleet.records.popleft()
        times = sorted(record.first_token_seconds for record in fleet.records)
        queues = [page[0] for replica in fleet.ready() if (page := self.pages.of(replica, fleet.now)) and page[1]]
        pages = [page for replica in fleet.replicas if (page := self.pages.of(replica, fleet.now)) is not None]
        return Observed(
            at=fleet.now,
            ready=len(signals),
            starting=fleet.size - len(signals),
            in_flight=sum(page[0] + page[1] for page in pages) if pages else None,
            waiting=sum(page[1] for page in pages) if pages else None,
            running_at_a_queue=sum(queues) / len(queues) if queues else None,
            finished=fleet.finished,
            tokens=fleet.tokens,
            first_token_seconds=times[int(len(times) * 0.95)] if len(times) >= _FEWEST_RECORDS else None,
            doubt=doubt(signals),
        )

    def _signals(self, replica: Replica, number: int, now: float) -> Signals:
        while replica.answers and now - replica.answers[0] > ANSWERS_SECONDS:
            replica.answers.popleft()
        page = self.pages.of(replica, now)
        if page is None:
            return Signals(f"chat-{number}", None, 0.0, "404", len(replica.answers))
        at, tokens = self._tokens.get(replica.number, (now, -1))
        if page[2] > tokens:
            at, self._tokens[replica.number] = now, (now, page[2])
        return Signals(f"chat-{number}", page[0] + page[1], now - at, "", len(replica.answers))


@dataclass
class HorizontalPodAutoscaler:
    """Kubernetes' algorithm on waiting requests a replica, target 2, with its default behaviour."""

    pages: Pages
    tick_seconds: float = 15.0
    target: float = 2.0
    _wanted: list[tuple[float, int]] = field(default_factory=list)
    _added: list[tuple[float, int]] = field(default_factory=list)

    def look(self, fleet: Fleet) -> None:
        pages = [self.pages.of(replica, fleet.now) for replica in fleet.ready()]
        size = fleet.size
        if not pages or None in pages:
            return
        waiting = sum(page[1] for page in pages if page is not None)
        wanted = size if abs(1 - waiting / (self.target * size)) <= 0.1 else math.ceil(waiting / self.target)
        self._wanted = [item for item in self._wanted if fleet.now - item[0] < 300] + [(fleet.now, wanted)]
        wanted = max(wanted, min(size, max(number for _, number in self._wanted)))
        self._added = [item for item in self._added if fleet.now - item[0] < 15]
        before = size - sum(number for _, number in self._added)
        wanted = min(max(wanted, 1), MAXIMUM, max(before + 4, 2 * before))
        if wanted > size:
            self._added.append((fleet.now, wanted - size))
        fleet.scale(wanted)


@dataclass
class Oracle:
    """The fewest replicas for the rate of the next minute, ready at once; it knows every rate beforehand."""

    scenario: Scenario
    tick_seconds: float = 5.0

    def look(self, fleet: Fleet) -> None:
        coming = max(self.scenario.rate(fleet.now), self.scenario.rate(fleet.now + 60))
        fleet.scale(next((size for size in range(1, MAXIMUM) if most_load(size) >= coming), MAXIMUM))


@cache
def most_load(size: int) -> float:
    """Requests a second of which `size` replicas answer 0.99 within the objective, found by simulation."""
    low, high = 0.0, size * ENGINE.requests_per_second
    for _ in range(7):
        middle = (low + high) / 2
        low, high = (middle, high) if _holds(size, middle) else (low, middle)
    return low


def _holds(size: int, rate: float) -> bool:
    if rate <= 0:
        return True
    chance, fleet, at = random.Random(size), Fleet(0.0, size), 0.0  # noqa: S311  # a load, not a secret
    requests: list[Request] = []
    while len(requests) < 6000:
        at += chance.expovariate(rate)
        tokens = 1 + int(chance.expovariate(1 / ENGINE.tokens))
        requests.append(Request(at, tokens, ENGINE.first_seconds + tokens * ENGINE.token_seconds))
    fleet.run(iter(requests), at + 60, 60.0, lambda: None)
    good = sum(request.first_token_seconds <= ENGINE.objective_seconds for request in requests)
    return good >= 0.99 * len(requests)
