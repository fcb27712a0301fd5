"""What is measured of each application: by its facts, its engines' pages and the gateway's records."""

from dataclasses import dataclass, field, replace

from arks.contracts.facts import ReplicaFact, ReplicaState, replica_facts
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.metrics.domain.replicas import Replica, ReplicaReport
from arks.metrics.domain.scaling.doubt import Signals, doubt
from arks.metrics.domain.scaling.held import HeldRequests
from arks.metrics.domain.scaling.limits import Limit
from arks.metrics.domain.scaling.observed import Observed
from arks.metrics.domain.scaling.traffic import Ended, Traffic, percentile
from arks.metrics.service.collector import Collector

_NEWEST = 0.5
"""Part of the newest start-up time in the estimate."""


@dataclass(slots=True)
class _Engine:
    """When a replica first started, and its counter of tokens last rose."""

    starting_at: float | None = None
    tokens: float = -1.0
    moved_at: float | None = None


@dataclass(slots=True)
class _Application:
    traffic: Traffic = field(default_factory=Traffic)
    held: HeldRequests = field(default_factory=HeldRequests)
    engines: dict[tuple[str, int], _Engine] = field(default_factory=dict)
    start_seconds: float | None = None
    addresses: set[str] = field(default_factory=set)
    endpoint: tuple[str, str] | None = None


class Applications:
    """Follows the facts of replicas; `take` adds a request that ended."""

    def __init__(self, facts: Cache[ReplicasFact], collector: Collector, clock: Clock) -> None:
        self._facts = facts
        self._collector = collector
        self._clock = clock
        self._applications: dict[Key, _Application] = {}
        self._by_address: dict[str, Key] = {}
        self._by_endpoint: dict[tuple[str, str], set[Key]] = {}
        facts.subscribe(self._changed)

    def exists(self, key: Key) -> bool:
        return self._facts.get(key) is not None

    def desired(self, key: Key) -> int:
        fact = self._facts.get(key)
        return 0 if fact is None else fact.desired

    def missing(self, key: Key) -> Limit | None:
        """Why desired replicas do not run; None while nothing is known to keep them."""
        fact = self._facts.get(key)
        return Limit(fact.missing_reason, fact.missing_message) if fact is not None and fact.missing_reason else None

    def served_model(self, key: Key) -> str:
        fact = self._facts.get(key)
        return "" if fact is None else fact.served_model

    def start_seconds(self, key: Key) -> float | None:
        """How long a replica needs to become ready; None before one was seen to."""
        found = self._applications.get(key)
        return None if found is None else found.start_seconds

    def take(self, namespace: str, endpoint: str, request: Ended) -> set[Key]:
        """Count a request. Returns the applications at which it waits for a first replica."""
        at = self._clock.monotonic()
        if request.replica:
            key = self._by_address.get(request.replica)
            if key is not None:
                self._applications[key].traffic.add(request, at)
            return set()
        return self.take_refused(namespace, {endpoint}, 1)

    def take_refused(self, namespace: str, names: set[str], count: int) -> set[Key]:
        """Count requests that found no replica, by the names of their model. Returns their applications."""
        found = {key for name in names for key in self._by_endpoint.get((namespace, name), ())}
        for key in found:
            self._applications[key].traffic.refused += count
        return found

    def take_held(self, namespace: str, names: set[str], holder: str, count: int, seconds: float) -> set[Key]:
        """Note how many requests one replica of token-quota holds, and for how long some have waited there. Returns the
        applications for which none waited.
        """
        at = self._clock.monotonic()
        found = {key for name in names for key in self._by_endpoint.get((namespace, name), ())}
        return {key for key in found if self._applications[key].held.take(holder, count, at, seconds)}

    def observed(self, key: Key) -> Observed:
        """What is measured now."""
        at = self._clock.monotonic()
        fact, application = self._facts.get(key), self._applications.get(key) or _Application()
        watch = self._collector.watch(key)
        reports = {} if watch is None else watch.reports()
        ready, starting, draining = _sorted(() if fact is None else replica_facts(fact), reports)
        signals = [_signals(application, replica, reports[replica], at) for replica in ready]
        slots = [replica.slots for replica in ready]
        traffic = application.traffic
        return replace(
            _of_engines([reports[replica] for replica in (*ready, *draining)], at),
            ready=len(ready),
            starting=starting,
            slots=sum(slots) if all(slots) else 0,
            finished=float(traffic.finished),
            tokens=float(traffic.tokens),
            refused=float(traffic.refused),
            held=application.held.count(at),
            held_seconds=application.held.seconds(at),
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
        if fact is None:
            del self._applications[key]
            return
        replicas = replica_facts(fact)
        application.addresses = {f"{replica.host}:{replica.port}" for replica in replicas if replica.port}
        application.endpoint = (fact.namespace, fact.served_model)
        self._by_address.update(dict.fromkeys(application.addresses, key))
        self._by_endpoint.setdefault(application.endpoint, set()).add(key)
        application.traffic.keep_replicas(application.addresses)
        self._note_starts(application, replicas)

    def _note_starts(self, application: _Application, replicas: tuple[ReplicaFact, ...]) -> None:
        at = self._clock.monotonic()
        existing = {(replica.name, replica.restarts) for replica in replicas}
        for gone in application.engines.keys() - existing:
            del application.engines[gone]
        for replica in replicas:
            engine = application.engines.setdefault((replica.name, replica.restarts), _Engine())
            if replica.state is ReplicaState.STARTING and engine.starting_at is None:
                engine.starting_at = at
            elif replica.state is ReplicaState.READY and engine.starting_at is not None:
                seconds, before = at - engine.starting_at, application.start_seconds
                application.start_seconds = seconds if before is None else before + _NEWEST * (seconds - before)
                engine.starting_at = None


def _sorted(
    replicas: tuple[ReplicaFact, ...], reports: dict[Replica, ReplicaReport]
) -> tuple[list[Replica], int, list[Replica]]:
    """Ready, number of starting, draining. A replica counts as ready once its page was read or failed."""
    known = {(replica.name, replica.restarts): replica for replica in reports}
    ready, starting, draining = [], 0, []
    for replica in replicas:
        watched = known.get((replica.name, replica.restarts))
        if replica.state is ReplicaState.STARTING:
            starting += 1
        elif replica.state is ReplicaState.READY:
            if watched is None or reports[watched].problem == "not read yet":
                starting += 1
            else:
                ready.append(watched)
        elif replica.state is ReplicaState.DRAINING and watched is not None:
            draining.append(watched)
    return ready, starting, draining


def _signals(application: _Application, replica: Replica, report: ReplicaReport, at: float) -> Signals:
    engine = application.engines.setdefault((replica.name, replica.restarts), _Engine())
    answers = application.traffic.answers_of(f"{replica.host}:{replica.port}", at)
    if report.problem or report.reading is None:
        return Signals(replica.name, None, problem=report.problem, answers=answers)
    snapshot = report.reading.snapshot
    tokens = snapshot.generation_tokens
    moved = bool(snapshot.running_requests) if tokens is None else tokens != engine.tokens
    if moved or engine.moved_at is None:
        engine.moved_at, engine.tokens = at, -1.0 if tokens is None else tokens
    in_flight = (snapshot.running_requests or 0) + (snapshot.waiting_requests or 0)
    return Signals(replica.name, in_flight, at - engine.moved_at, answers=answers)


def _of_engines(reports: list[ReplicaReport], at: float) -> Observed:
    """Sums and means of the engines' signals; the rest is set by the caller."""
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
            (rate.prompt_tokens_per_second or 0.0) + (rate.generation_tokens_per_second or 0.0) for rate in rates
        ),
    )
