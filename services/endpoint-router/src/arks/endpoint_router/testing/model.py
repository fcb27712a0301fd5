"""A model of an endpoint under load: clients, Envoys, engines and the router's decisions, without network and clock.

Discrete events in one heap, a few microseconds each, so that a test can run thousands of seeds. What it models:

- clients: an open loop, Poisson arrivals; a request's time to first token counts from its arrival;
- Envoys: each interleaves localities by weight and, inside one, takes the replica with the fewest of its own requests
  in flight (LEAST_REQUEST with FULL_SCAN), as Envoy does where weights inside a locality are equal;
- engines: slots with a queue in front, a time until the first token, then tokens at a steady rate;
- metrics: a report of all replicas at an interval that arrives some time later, through `observe` and `decide`.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import partial
from math import inf

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain import (
    Application,
    Comparisons,
    Decision,
    DecisionInput,
    EndpointSpec,
    Loads,
    ReplicaId,
    RoutedReplica,
    decide,
)
from arks.endpoint_router.domain.native import Reading, divide

APPLICATION = "a"
SPEC = EndpointSpec("team", "chat")

Lie = Callable[[float, Reading], Reading | None]
"""(time, the truth) -> the reading that is reported; None: none is."""


@dataclass(slots=True)
class Engine:
    """One replica. `seconds`: mean service time of a request in a slot; its first token comes after `first_seconds`."""

    slots: int
    seconds: float
    first_seconds: float
    configured_slots: int = 0
    """As its command sets them; 0: they are unknown. Memory may hold fewer requests: `slots`."""
    slowdowns: Sequence[tuple[float, float]] = ()
    """(from when, factor of the service time), in order; of requests that run then too."""
    lie: Lie | None = None
    request_tokens: int = 16
    """Tokens of a request of mean length."""
    counts_at_end: bool = False
    """Count a request's tokens when it ends, as SGLang and llama.cpp do."""
    waiting: deque["Request"] = field(default_factory=deque)
    running: dict[int, "Request"] = field(default_factory=dict)
    finished: int = 0
    tokens: float = 0.0

    def factor(self, now: float) -> float:
        return next((factor for since, factor in reversed(self.slowdowns) if now >= since), 1.0)

    def reading(self, now: float) -> Reading:
        running = () if self.counts_at_end else self.running.values()
        begun = sum(request.progress(now) * request.length for request in running)
        return Reading(
            measured_at=now,
            running=len(self.running),
            waiting=len(self.waiting),
            tokens_total=int(self.tokens + self.request_tokens * begun),
            finished_total=self.finished,
        )


@dataclass(slots=True)
class Host:
    """A replica in one locality of one Envoy."""

    replica: int
    active: int = 0
    """Its requests in flight there."""


@dataclass(slots=True)
class Request:
    number: int
    arrived_at: float
    length: float
    """Relative to the mean."""
    host: Host
    since: float = inf
    """When it began to work at its present speed."""
    done: float = 0.0
    """Part of it that was done then, 0 to 1."""
    ends_at: float = inf

    def progress(self, now: float) -> float:
        return min(1.0, self.done + (1 - self.done) * (now - self.since) / (self.ends_at - self.since))

    def work(self, now: float, seconds: float) -> None:
        """Go on so that the whole request takes this many seconds."""
        self.done = self.progress(now) if self.since < now else self.done
        self.since, self.ends_at = now, now + (1 - self.done) * seconds


class Envoy:
    """Picks replicas as Envoy does. One that changes its locality is a new host, whose requests count from 0."""

    def __init__(self, random_: random.Random) -> None:
        self._random = random_
        self._localities: dict[str, tuple[int, list[Host]]] = {}
        self._deadlines: dict[str, float] = {}

    def configure(self, localities: dict[str, tuple[int, list[int]]]) -> None:
        """Set weight and replicas of each locality. The schedule of localities starts anew, at a random point."""
        before = {(name, host.replica): host for name, (_, hosts) in self._localities.items() for host in hosts}
        self._localities = {
            name: (weight, [before.get((name, replica)) or Host(replica) for replica in members])
            for name, (weight, members) in localities.items()
        }
        self._deadlines = {name: self._random.random() / weight for name, (weight, _) in localities.items()}

    def pick(self) -> Host:
        """Return the host that gets the next request, which counts there until it is taken from `active`."""
        name = min(self._deadlines, key=lambda each: self._deadlines[each])
        weight, hosts = self._localities[name]
        self._deadlines[name] += 1 / weight
        fewest = min(host.active for host in hosts)
        host = self._random.choice([host for host in hosts if host.active == fewest])
        host.active += 1
        return host


@dataclass(slots=True)
class Result:
    first_token_seconds: list[float]
    """Of the requests that arrived after the warm-up, in the order of arrival."""
    served: list[int]
    """Requests by replica."""
    decisions: list[tuple[float, Decision]]
    """When each decision that changed something took effect."""
    ended: int

    def percentile(self, part: float) -> float:
        ordered = sorted(self.first_token_seconds)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


Policy = Callable[[DecisionInput], Decision]


def by_load(inputs: DecisionInput) -> Decision:
    return decide(SPEC, inputs)


def least_request(inputs: DecisionInput) -> Decision:
    """Decide without any signal: one group of all, plain least request."""
    members = tuple(replace(replica, slots=0) for replica in inputs.applications[APPLICATION].replicas)
    return decide(SPEC, DecisionInput({APPLICATION: Application(APPLICATION, "chat", members)}, now=inputs.now))


def fixed_shares(engines: Sequence[Engine], utilisation: float) -> Policy:
    """Return the policy that knows all capacities before and never looks at load: a group for each kind of engine."""
    kinds = sorted({(engine.slots, engine.seconds) for engine in engines})
    names = [f"{APPLICATION}/{kinds.index((engine.slots, engine.seconds))}" for engine in engines]
    sizes = [names.count(f"{APPLICATION}/{number}") for number in range(len(kinds))]
    shares = divide(
        [(size * slots, 1 / seconds) for size, (slots, seconds) in zip(sizes, kinds, strict=True)], utilisation
    )
    share_of = {f"{APPLICATION}/{number}": share / sizes[number] for number, share in enumerate(shares)}
    replicas = [(f"{APPLICATION}-{number}", 0, name, share_of[name]) for number, name in enumerate(names)]
    fixed = Comparisons.restored([(APPLICATION, replicas)])

    def policy(inputs: DecisionInput) -> Decision:
        kept = DecisionInput(inputs.applications, before=fixed, hold=True, now=inputs.now)
        return decide(SPEC, kept)

    return policy


@dataclass(slots=True)
class Model:
    """One run. `load`: arrivals as a part of what all engines can do."""

    engines: Sequence[Engine]
    load: float
    _: KW_ONLY
    seconds: float = 20.0
    seed: int = 0
    envoys: int = 1
    policy: Policy = by_load
    report_seconds: float = 0.2
    lag_seconds: float = 0.05
    lengths: Callable[[random.Random], float] = lambda _: 1.0
    """Of requests; mean 1."""
    from_seconds: float = 0.0
    """Requests that arrive earlier are not in the result."""
    _random: random.Random = field(init=False)
    _heap: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    _events: int = 0
    _requests: int = 0
    _loads: Loads = field(default_factory=Loads)
    _decision: Decision | None = None
    _result: Result = field(init=False)
    _envoys: list[Envoy] = field(init=False)
    _replicas: tuple[RoutedReplica, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  # a simulation
        self._envoys = [Envoy(self._random) for _ in range(self.envoys)]
        self._result = Result([], [0] * len(self.engines), [], 0)
        self._replicas = tuple(
            RoutedReplica(
                ReplicaId(APPLICATION, f"{APPLICATION}-{number}"),
                *("127.0.0.1", 9000 + number, ReplicaState.READY, engine.configured_slots),
            )
            for number, engine in enumerate(self.engines)
        )

    @property
    def rate(self) -> float:
        """Return arrivals a second."""
        return self.load * sum(engine.slots / engine.seconds for engine in self.engines)

    def run(self) -> Result:
        self._decide(0.0)
        self._at(self._random.expovariate(self.rate), self._arrive)
        self._at(self._random.random() * self.report_seconds, self._measure)
        for engine in self.engines:
            for at, _ in engine.slowdowns:
                self._at(at, partial(self._change_speed, engine))
        while self._heap:
            now, _, event = heapq.heappop(self._heap)
            event(now)
        return self._result

    def _at(self, time: float, event: Callable[[float], None]) -> None:
        self._events += 1
        heapq.heappush(self._heap, (time, self._events, event))

    # --- requests

    def _arrive(self, now: float) -> None:
        if now >= self.seconds:
            return
        self._at(now + self._random.expovariate(self.rate), self._arrive)
        host = self._envoys[self._requests % len(self._envoys)].pick()
        request = Request(self._requests, now, self.lengths(self._random), host)
        self._requests += 1
        self._result.served[host.replica] += 1
        engine = self.engines[host.replica]
        if len(engine.running) < engine.slots:
            self._start(request, now)
        else:
            engine.waiting.append(request)

    def _start(self, request: Request, now: float) -> None:
        engine = self.engines[request.host.replica]
        factor = engine.factor(now)
        request.work(now, engine.seconds * factor * request.length)
        engine.running[request.number] = request
        if request.arrived_at >= self.from_seconds:
            self._result.first_token_seconds.append(now + engine.first_seconds * factor - request.arrived_at)
        self._at(request.ends_at, partial(self._end, request))

    def _change_speed(self, engine: Engine, now: float) -> None:
        for request in engine.running.values():
            request.work(now, engine.seconds * engine.factor(now) * request.length)
            self._at(request.ends_at, partial(self._end, request))

    def _end(self, request: Request, now: float) -> None:
        engine = self.engines[request.host.replica]
        if request.number not in engine.running or now != request.ends_at:
            return  # its speed has changed since
        del engine.running[request.number]
        engine.finished += 1
        engine.tokens += engine.request_tokens * request.length
        request.host.active -= 1
        self._result.ended += 1
        if engine.waiting and len(engine.running) < engine.slots:
            self._start(engine.waiting.popleft(), now)

    # --- load reports

    def _measure(self, now: float) -> None:
        if now >= self.seconds:
            return
        self._at(now + self.report_seconds, self._measure)
        readings = [engine.reading(now) for engine in self.engines]
        reported = [
            engine.lie(now, reading) if engine.lie is not None else reading
            for engine, reading in zip(self.engines, readings, strict=True)
        ]
        self._at(now + self.lag_seconds, lambda arrived: self._report(arrived, reported))

    def _report(self, now: float, readings: Sequence[Reading | None]) -> None:
        for replica, reading in zip(self._replicas, readings, strict=True):
            if reading is not None:
                self._loads = self._loads.with_reading(replica.id.name, replica.id.restarts, reading)
        self._decide(now)

    def _decide(self, now: float) -> None:
        applications = {APPLICATION: Application(APPLICATION, "chat", self._replicas)}
        before = self._decision.comparisons if self._decision is not None else None
        decision = self.policy(DecisionInput(applications, {APPLICATION: self._loads}, before, now=now))
        changed = not decision.same_traffic(self._decision)
        self._decision = decision
        if changed:
            self._result.decisions.append((now, decision))
            for envoy in self._envoys:
                envoy.configure(self._localities(decision))

    def _localities(self, decision: Decision) -> dict[str, tuple[int, list[int]]]:
        members: dict[str, list[int]] = {}
        for number, candidate in enumerate(decision.candidates):
            members.setdefault(candidate.group, []).append(number)
        return {group.name: (group.weight, members[group.name]) for group in decision.groups}
