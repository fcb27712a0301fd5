"""What is remembered of one endpoint between decisions."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from arks.contracts.conditions import is_true
from arks.contracts.resources.endpoint import ArksEndpoint, ArksEndpointStatus
from arks.endpoint_router.domain import STALE_SECONDS, Decision, EndpointSpec, ReplicaId, stale_seconds
from arks.endpoint_router.service.events import Change, Known, changes
from arks.events.v1.events_pb2 import ResourceEvent
from arks.kit.reconcile import Key

HISTORY = 16
"""Decisions kept for explanations: at 8 replicas about 30 KB an endpoint."""


@dataclass(slots=True)
class Routed:
    resource: ArksEndpoint
    spec: EndpointSpec
    decision: Decision | None = None
    """The last one that changed something: what Envoy has."""
    newest: Decision | None = None
    decided_at: float = 0.0
    """Monotonic."""
    waits_until: float | None = None
    """Nothing is known of its replicas since the start; until then Envoy keeps what it has."""
    refusal: str | None = None
    """What Envoy said against the newest configuration."""
    announced: Known | None = None
    """By events."""
    status_told: ArksEndpointStatus | None = None
    status_told_at: float = float("-inf")
    history: deque[Decision] = field(default_factory=lambda: deque(maxlen=HISTORY))

    @property
    def generation(self) -> int | None:
        return self.resource.metadata.generation

    @property
    def measured(self) -> bool:
        """Whether the newest decision was made from load reports, which get stale."""
        return self.newest is not None and any(one.score and one.doubt is None for one in self.newest.candidates)

    @property
    def settled(self) -> bool:
        return self.newest is None or self.newest.settled

    def wants_another_look(self, now: float) -> bool:
        """Whether readings may have got stale since, or a step is to be gone on with."""
        quiet = now - self.decided_at
        if not self.settled:
            return quiet >= STALE_SECONDS / 3
        ready = max((portion.ready for portion in self.newest.portions), default=0) if self.newest is not None else 0
        return self.measured and quiet >= stale_seconds(ready) / 3

    def take_up_status(self, now: float) -> None:
        """What another life of ours told counts as told just now: metrics may need a moment to be heard again."""
        if self.status_told is None and self.resource.status is not None:
            self.status_told, self.status_told_at = self.resource.status, now

    @property
    def was_ready(self) -> bool:
        """Whether the status says that requests were routed: after a restart, what another life of ours left."""
        status = self.resource.status
        return status is not None and status.ready_replicas > 0 and is_true(status.conditions, "Ready")

    @property
    def scores(self) -> Mapping[ReplicaId, float]:
        """Where the last decision left off; after a restart, what the weights in the status say."""
        return self.newest.scores if self.newest is not None else _scores_told(self.resource.status)

    def take(self, decision: Decision, now: float) -> bool:
        """Keep the decision. True when it changes something."""
        self.newest, self.decided_at = decision, now
        if decision.same_traffic(self.decision):
            return False
        self.decision = decision
        self.history.append(decision)
        return True

    def events(self, key: Key) -> list[tuple[str, ResourceEvent]]:
        """What happened since the last call: verbs and events."""
        if self.decision is None:
            return []
        before = self.announced or self._announced_in_another_life()
        self.announced = Known.of(self.decision, self.refusal)
        return [(change.verb, self._event(key, change)) for change in changes(before, self.decision, self.refusal)]

    def _announced_in_another_life(self) -> Known:
        """A restart is no news: what the status says was announced."""
        status = self.resource.status
        weights = status.weights if status is not None else []
        return Known(self.was_ready, frozenset((one.application, one.replica) for one in weights if one.weight))

    def _event(self, key: Key, change: Change) -> ResourceEvent:
        return ResourceEvent(
            kind=self.resource.kind,
            namespace=key.namespace,
            name=key.name,
            generation=self.generation or 0,
            reason=change.reason,
            message=change.message,
            replica=change.replica,
        )

    def told_all_but_weights(self, status: ArksEndpointStatus) -> bool:
        """Whether the status as it was written last differs from this one in weights and their reasons at most."""
        if self.status_told is None:
            return False
        weightless: dict[str, object] = {"weights": [], "signal_source": None}
        same_members = [(one.application, one.replica) for one in status.weights] == [
            (one.application, one.replica) for one in self.status_told.weights
        ]
        return same_members and status.model_copy(update=weightless) == self.status_told.model_copy(update=weightless)


def _scores_told(status: ArksEndpointStatus | None) -> Mapping[ReplicaId, float]:
    """Weights of each application over their mean. How often a replica restarted is not in the status: 0 is a guess,
    and a replica for which it is wrong starts like a new one."""
    found: dict[ReplicaId, float] = {}
    weights = [one for one in status.weights if one.weight] if status is not None else []
    for application in {one.application for one in weights}:
        members = [one for one in weights if one.application == application]
        mean = sum(one.weight for one in members) / len(members)
        found |= {ReplicaId(application, one.replica): round(one.weight / mean, 3) for one in members}
    return found
