"""What is measured of each application and stage: by its facts, its engines' pages and the gateway's records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.held import HeldRequests
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.metrics.domain.engines import reader_of
from arks.metrics.domain.replicas import NOT_READ, Replica, ReplicaReport
from arks.metrics.domain.scaling.doubt import Signals, behind_routers, doubt
from arks.metrics.domain.scaling.limits import Limit
from arks.metrics.domain.scaling.observed import Observed
from arks.metrics.domain.scaling.parts import ROUTER, Part, parts_of, whole_of, work
from arks.metrics.domain.scaling.traffic import Ended, Traffic, percentile

_NEWEST = 0.5
"""Part of the newest start-up time in the estimate."""


@dataclass(slots=True)
class _Engine:
    """When a replica first started, and its counter of tokens last rose."""

    starting_at: float | None = None
    tokens: float = -1.0
    moved_at: float | None = None


@dataclass(slots=True)
class _Counted:
    """Of an application or a stage."""

    part: Part
    traffic: Traffic
    held: HeldRequests = field(default_factory=HeldRequests)
    engines: dict[tuple[str, int], _Engine] = field(default_factory=dict)
    start_seconds: float | None = None


@dataclass(slots=True)
class _Application:
    """Where its requests are found."""

    parts: list[Key] = field(default_factory=list)
    addresses: set[str] = field(default_factory=set)
    endpoint: tuple[str, str] | None = None


class Loads(Protocol):
    def reports(self, key: Key) -> Mapping[Replica, ReplicaReport]:
        """The entry of each replica of an application or a stage that was read."""


class Applications:
    """Follows the facts of replicas; `take` adds a request that ended. Keys of stages are those of `part_key`."""

    def __init__(self, facts: Cache[ReplicasFact], loads: Loads, clock: Clock) -> None:
        self._facts = facts
        self._loads = loads
        self._clock = clock
        self._applications: dict[Key, _Application] = {}
        self._counted: dict[Key, _Counted] = {}
        self._by_address: dict[str, Key] = {}
        self._by_endpoint: dict[tuple[str, str], set[Key]] = {}
        facts.subscribe(self._changed)

    def exists(self, key: Key) -> bool:
        """Whether it can be scaled: a disaggregated application is scaled by its stages."""
        found = self._counted.get(key)
        return found is not None and found.part.stage != ROUTER

    def desired(self, key: Key) -> int:
        found = self._counted.get(key)
        return 0 if found is None else found.part.desired

    def missing(self, key: Key) -> Limit | None:
        """Why desired replicas do not run; None while nothing is known to keep them."""
        found = self._counted.get(key)
        return None if found is None else found.part.missing

    def served_model(self, key: Key) -> str:
        found = self._counted.get(key)
        return "" if found is None else found.part.served_model

    def start_seconds(self, key: Key) -> float | None:
        """How long a replica needs to become ready; None before one was seen to."""
        found = self._counted.get(key)
        return None if found is None else found.start_seconds

    def take(self, namespace: str, endpoint: str, request: Ended) -> set[Key]:
        """Count a request. Returns the parts at which it waits for a first replica."""
        at = self._clock.monotonic()
        if request.replica:
            key = self._by_address.get(request.replica)
            for part in () if key is None else self._applications[key].parts:
                self._counted[part].traffic.add(request, at)
            return set()
        return self.take_refused(namespace, {endpoint}, 1)

    def take_refused(self, namespace: str, names: set[str], count: int) -> set[Key]:
        """Count requests that found no replica, by the names of their model. Returns the parts that they wait for."""
        found = self._named(namespace, names)
        for key in found:
            self._counted[key].traffic.refused += count
        return found

    def take_held(self, namespace: str, names: set[str], holder: str, count: int, seconds: float) -> set[Key]:
        """Note how many requests one replica of token-quota holds, and for how long some have waited there. Returns the
        parts for which none waited.
        """
        at = self._clock.monotonic()
        found = self._named(namespace, names)
        return {key for key in found if self._counted[key].held.take(holder, count, at, seconds)}

    def _named(self, namespace: str, names: set[str]) -> set[Key]:
        found = {key for name in names for key in self._by_endpoint.get((namespace, name), ())}
        return {part for key in found for part in self._applications[key].parts}

    def _measured_by(self, key: Key, counted: _Counted) -> tuple[Key, _Counted]:
        """Whose pages measure a part: its own engines', or those of the routers in front of them."""
        if counted.part.runtime:
            return key, counted
        whole = whole_of(key)
        return whole, self._counted[whole]

    def observed(self, key: Key) -> Observed:
        """What is measured now. A stage whose engines have no page is measured by its routers' pages."""
        at = self._clock.monotonic()
        counted = self._counted.get(key)
        if counted is None:
            return Observed(at, ready=0)
        part, traffic, measured = counted.part, counted.traffic, self._measured_by(key, counted)
        ready, starting, draining = self._sorted(measured[0], measured[1].part)
        signals = [_signals(measured[1], replica, report, at) for replica, report in ready]
        if part.stage and part.runtime:
            signals = behind_routers(signals, traffic.all_answers(at))
        engines: Sequence[Replica | ReplicaFact] = [replica for replica, _ in ready]
        if measured[1] is not counted:
            engines = [replica for replica in part.replicas if replica.state is ReplicaState.READY]
            starting = sum(replica.state is ReplicaState.STARTING for replica in part.replicas)
        slots = [replica.slots for replica in engines]
        reader = reader_of(part.runtime)
        return replace(
            _of_engines([*(report for _, report in ready), *draining], at, part.stage),
            ready=len(engines),
            starting=starting,
            slots=sum(slots) if all(slots) else 0,
            slots_reserved=reader is not None and reader.reserves_slots,
            finished=float(traffic.finished),
            tokens=traffic.tokens,
            refused=float(traffic.refused),
            held=counted.held.count(at),
            held_seconds=counted.held.seconds(at),
            first_token_seconds=percentile(traffic.first, at),
            inter_token_seconds=percentile(traffic.inter, at),
            doubt=doubt(signals),
        )

    def _changed(self, key: Key) -> None:
        fact = self._facts.get(key)
        application = self._applications.setdefault(key, _Application())
        for address in application.addresses:
            self._by_address.pop(address, None)
        if application.endpoint is not None:
            self._by_endpoint[application.endpoint].discard(key)
        parts = {} if fact is None else parts_of(fact)
        for gone in set(application.parts) - parts.keys():
            del self._counted[gone]
        if fact is None:
            del self._applications[key]
            return
        application.parts = list(parts)
        application.addresses = {f"{each.host}:{each.port}" for each in parts[key].replicas if each.port}
        application.endpoint = (fact.namespace, fact.served_model)
        self._by_address.update(dict.fromkeys(application.addresses, key))
        self._by_endpoint.setdefault(application.endpoint, set()).add(key)
        for name, part in parts.items():
            counted = self._counted.setdefault(name, _Counted(part, Traffic(part.stage)))
            counted.part = part
            counted.traffic.keep_replicas(application.addresses)
            self._note_starts(counted)

    def _note_starts(self, counted: _Counted) -> None:
        at, replicas = self._clock.monotonic(), counted.part.replicas
        existing = {(replica.name, replica.restarts) for replica in replicas}
        for gone in counted.engines.keys() - existing:
            del counted.engines[gone]
        for replica in replicas:
            engine = counted.engines.setdefault((replica.name, replica.restarts), _Engine())
            if replica.state is ReplicaState.STARTING and engine.starting_at is None:
                engine.starting_at = at
            elif replica.state is ReplicaState.READY and engine.starting_at is not None:
                seconds, before = at - engine.starting_at, counted.start_seconds
                counted.start_seconds = seconds if before is None else before + _NEWEST * (seconds - before)
                engine.starting_at = None

    def _sorted(self, key: Key, part: Part) -> "_Sorted":
        """Ready ones, number of starting, draining. A replica counts as ready once its page was read or failed."""
        reports = self._loads.reports(key)
        known = {(replica.name, replica.restarts): replica for replica in reports}
        ready, starting, draining = [], 0, []
        for replica in part.replicas:
            watched = known.get((replica.name, replica.restarts))
            if replica.state is ReplicaState.STARTING:
                starting += 1
            elif replica.state is ReplicaState.READY:
                if watched is None or reports[watched].problem == NOT_READ:
                    starting += 1
                else:
                    ready.append((watched, reports[watched]))
            elif replica.state is ReplicaState.DRAINING and watched is not None:
                draining.append(reports[watched])
        return ready, starting, draining


_Sorted = tuple[list[tuple[Replica, ReplicaReport]], int, list[ReplicaReport]]


def _signals(counted: _Counted, replica: Replica, report: ReplicaReport, at: float) -> Signals:
    engine = counted.engines.setdefault((replica.name, replica.restarts), _Engine())
    answers = counted.traffic.answers_of(f"{replica.host}:{replica.port}", at)
    if report.problem or report.reading is None:
        return Signals(replica.name, None, problem=report.problem, answers=answers)
    snapshot = report.reading.snapshot
    tokens = snapshot.generation_tokens
    if tokens is not None:
        tokens += snapshot.prompt_tokens or 0.0  # an engine of prefill generates nothing
    moved = bool(snapshot.running_requests) if tokens is None else tokens != engine.tokens
    if moved or engine.moved_at is None:
        engine.moved_at, engine.tokens = at, -1.0 if tokens is None else tokens
    in_flight = (snapshot.running_requests or 0) + (snapshot.waiting_requests or 0)
    return Signals(replica.name, in_flight, at - engine.moved_at, answers=answers)


def _of_engines(reports: list[ReplicaReport], at: float, stage: str) -> Observed:
    """Sums and means of the engines' signals; the rest is set by the caller. Tokens are those that are work of the
    stage.
    """
    readings = [report.reading for report in reports if report.reading is not None and not report.problem]
    pages, rates = [reading.snapshot for reading in readings], [reading.rates for reading in readings]
    queues = [page.running_requests or 0.0 for page in pages if page.waiting_requests]
    caches = [page.kv_cache_usage_ratio for page in pages if page.kv_cache_usage_ratio is not None]
    waiting = sum(page.waiting_requests or 0.0 for page in pages)
    return Observed(
        at,
        ready=0,
        in_flight=sum(page.running_requests or 0.0 for page in pages) + waiting,
        waiting=waiting,
        running_at_a_queue=sum(queues) / len(queues) if queues else None,
        kv_cache_ratio=sum(caches) / len(caches) if caches else None,
        tokens_per_second=sum(
            work(stage, rate.prompt_tokens_per_second or 0.0, rate.generation_tokens_per_second or 0.0)
            for rate in rates
        ),
    )
