"""The state that the router keeps of one endpoint between decisions."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from arks.contracts.conditions import is_true
from arks.contracts.held import HeldRequests
from arks.contracts.load import STALE_SECONDS, stale_seconds
from arks.contracts.resources import ArksEndpoint, ArksEndpointStatus
from arks.endpoint_router.domain import (
    Comparisons,
    Decision,
    DecisionInput,
    EndpointSpec,
    Roster,
    Source,
    roster,
    weigh,
)
from arks.endpoint_router.service.events import Change, Published, changes

HISTORY = 16
"""Decisions kept for explanations: with 8 replicas about 30 KB an endpoint."""


@dataclass(slots=True)
class EndpointRecord:
    resource: ArksEndpoint
    spec: EndpointSpec
    roster: Roster | None = None
    """That of the last decision: specs and facts change seldom."""
    decision: Decision | None = None
    """The last decision that changed something: Envoy's configuration is made from it."""
    newest: Decision | None = None
    """The last decision, whether or not it changed anything."""
    decided_at: float = 0.0
    """Time of the newest decision, in monotonic seconds."""
    reported_at: float = -math.inf
    """When the last report of one of its applications arrived, in monotonic seconds."""
    written_at: float = -math.inf
    """When fact and status were written, in monotonic seconds."""
    hold_until: float | None = None
    """While no fact about its replicas has arrived since the start: until then (monotonic seconds) Envoy keeps its
    configuration."""
    rejection: str | None = None
    """Envoy's message about the newest configuration, if it rejected it."""
    published: Published | None = None
    """What the last events were made from; None until the first one after a start."""
    quiet_until: float = -math.inf
    """Before this time (monotonic seconds) no decision is due because time passes."""
    held: HeldRequests = field(default_factory=HeldRequests)
    history: deque[Decision] = field(default_factory=lambda: deque(maxlen=HISTORY))

    @property
    def generation(self) -> int | None:
        return self.resource.metadata.generation

    @property
    def measured(self) -> bool:
        """Whether the newest decision was made from load reports, which get stale."""
        return self.newest is not None and self.newest.source is Source.ENGINE

    def is_decision_due(self, now: float) -> bool:
        """Return whether time alone is a reason to decide: what the last decision was made from may be out of date, or
        facts have not arrived after all."""
        if now < self.quiet_until:
            return False  # nearly always
        self.quiet_until = min(self._out_of_date_at(), math.inf if self.hold_until is None else self.hold_until)
        return now >= self.quiet_until

    def _out_of_date_at(self) -> float:
        """Return when what the last decision was made from is out of date if no report comes; inf: never."""
        if self.newest is None or not (self.measured or self.newest.held):
            return math.inf
        ready = max((portion.ready for portion in self.newest.portions), default=0)
        stale = STALE_SECONDS if self.newest.held else stale_seconds(ready)
        if len(self.newest.portions) == 1:  # what was reported may be newer than the decision, and the same
            return max(self.decided_at + stale / 3, self.reported_at + stale)
        return self.decided_at + stale / 3

    @property
    def was_ready(self) -> bool:
        """Whether requests were routed according to the stored status; holds across a restart."""
        status = self.resource.status
        return status is not None and status.ready_replicas > 0 and is_true(status.conditions, "Ready")

    @property
    def comparisons(self) -> Comparisons:
        """Those of the last decision; after a restart, those that the weights in the status imply."""
        if self.newest is not None:
            return self.newest.comparisons
        return _comparisons_of(self.resource.status)

    def decide(self, inputs: DecisionInput) -> Decision:
        """Return the decision; `add` stores it."""
        self.quiet_until = -math.inf
        if self.roster is None or not self.roster.is_for(self.spec, inputs.applications):
            self.roster = roster(self.spec, inputs.applications)
        return weigh(self.roster, inputs)

    def add(self, decision: Decision, now: float) -> bool:
        """Store the decision. Returns whether it changes anything."""
        self.newest, self.decided_at = decision, now
        if decision.same_traffic(self.decision):
            return False
        self.decision = decision
        self.history.append(decision)
        return True

    def events(self) -> Iterator[Change]:
        """Yield what changed since the last call."""
        if self.decision is None:
            return
        before = self.published or self._published_before_restart()
        self.published = Published.of(self.decision, self.rejection)
        yield from changes(before, self.decision, self.rejection)

    def _published_before_restart(self) -> Published:
        """Take the stored status as published, so that a restart repeats no events."""
        status = self.resource.status
        weights = status.weights if status is not None else []
        return Published(
            self.was_ready, frozenset((weight.application, weight.replica) for weight in weights if weight.weight)
        )


def _comparisons_of(status: ArksEndpointStatus | None) -> Comparisons:
    """Return groups and shares of each application's replicas.

    The status has no counts of restarts: 0 is a guess, and a replica with another count starts like a new one.
    """
    weights = [weight for weight in status.weights if weight.weight] if status is not None else []
    found = []
    for application in sorted({weight.application for weight in weights}):
        members = [weight for weight in weights if weight.application == application]
        total = sum(member.weight for member in members)
        found.append(
            (
                application,
                [(member.replica, 0, member.group or application, member.weight / total) for member in members],
            )
        )
    return Comparisons.restored(found)
