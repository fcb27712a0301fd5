"""Take the decisions of a trace again, with the endpoint's recorded spec or with another one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from arks.contracts.resources import ArksEndpoint
from arks.endpoint_router.domain import Decision, DecisionInput, Report
from arks.endpoint_router.domain.translate import endpoint_spec
from arks.endpoint_router.service.endpoint_record import EndpointRecord
from arks.endpoint_router.service.neighbours import Neighbours
from arks.endpoint_router.service.trace import Content, Line
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.load_pb2 import LoadReport
from arks.kit.key import Key

TICK_SECONDS = 0.5
"""Interval at which decisions are taken again because readings get old, as in the running router."""


@dataclass(slots=True)
class Replayed:
    decisions: list[Decision] = field(default_factory=list)
    """Those that changed something, oldest first."""
    shares: dict[str, float] = field(default_factory=dict)
    """Replica -> mean share of the endpoint's requests over the time of the trace, 0 to 1."""


def replay(trace: Sequence[Line], endpoint: ArksEndpoint) -> Replayed:
    """Return the decisions that a router would take that starts with the trace. `trace`: not empty."""
    router, replayed, now = _Router(endpoint), Replayed(), trace[0].at
    weighted: dict[str, float] = {}

    def pass_time(until: float) -> None:
        nonlocal now
        while now < until:
            step = min(TICK_SECONDS, until - now)
            for name, share in router.shares().items():
                weighted[name] = weighted.get(name, 0.0) + share * step
            now += step
            replayed.decisions += router.tick(now)

    # What was known when the recording began is the first decision's input, as after the start of a router.
    known = list(takewhile(lambda line: line.at == now and not isinstance(line.content, LoadReport), trace))
    for line in known:
        router.store(line.content, now)
    replayed.decisions += router.decide(now)
    for line in trace[len(known) :]:
        pass_time(line.at)
        replayed.decisions += router.take(line.content, line.at)
    seconds = trace[-1].at - trace[0].at
    replayed.shares = {name: total / seconds for name, total in weighted.items()} if seconds else router.shares()
    return replayed


class _Router:
    """What service/router.py does for one endpoint, without Envoy, facts and statuses."""

    def __init__(self, endpoint: ArksEndpoint) -> None:
        self._key = Key(endpoint.namespace, endpoint.name)
        # An application without replicas in a trace has none: traces do not show the loss of a bucket.
        self._neighbours = Neighbours(hold_seconds=0.0)
        self._record = EndpointRecord(endpoint, endpoint_spec(endpoint))
        self._neighbours.set_endpoint(self._key, self._record.spec)

    def store(self, content: Content, now: float) -> bool:
        """Take in a line. Returns whether it is a reason to decide."""
        if isinstance(content, ReplicasFact):
            key = Key(content.namespace, content.application)
            before = self._serves(key)
            changed = self._neighbours.update_replicas(key, content, now)
            return changed and (before or self._serves(key))
        if isinstance(content, LoadReport):
            key = Key(content.namespace, content.application)
            loads = self._neighbours.update_load(key, Report(content.SerializeToString()))
            if loads is None or not self._serves(key):
                return False
            self._record.reported_at = now
            return not loads.confirmed
        return False

    def take(self, content: Content, now: float) -> Iterable[Decision]:
        """Yield the decision that follows from a line, if it changes something."""
        if self.store(content, now):
            yield from self.decide(now)

    def tick(self, now: float) -> Iterable[Decision]:
        if self._record.is_decision_due(now):
            yield from self.decide(now)

    def shares(self) -> dict[str, float]:
        """Return the share of each replica that gets requests."""
        decision = self._record.decision
        if decision is None:
            return {}
        total = sum(candidate.weight for candidate in decision.candidates)
        return {
            candidate.replica.id.name: candidate.weight / total for candidate in decision.candidates if candidate.weight
        }

    def _serves(self, application: Key) -> bool:
        return self._key in self._neighbours.endpoints_of(application)

    def decide(self, now: float) -> Iterable[Decision]:
        """Yield the decision of this moment, if it changes something."""
        inputs = DecisionInput(
            applications=self._neighbours.applications_for(self._key, self._record.spec),
            loads=self._neighbours.loads(self._key.namespace),
            before=self._record.comparisons,
            now=now,
        )
        decision = self._record.decide(inputs)
        if self._record.add(decision, now):
            yield decision
