"""Derive events from decisions. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from arks.contracts.resources import ArksEndpointStatus, RolloutPhase
from arks.endpoint_router.domain import Decision
from arks.events.v1.events_pb2 import ReplicaChange

_VERBS = {
    RolloutPhase.PROGRESSING: "rollout-step",
    RolloutPhase.PROMOTED: "rollout-promoted",
    RolloutPhase.ROLLED_BACK: "rollout-rolled-back",
}
REJECTED = "ConfigurationRejected"


@dataclass(frozen=True, slots=True)
class Published:
    """The state of an endpoint in the last published events."""

    ready: bool
    replicas: frozenset[tuple[str, str]]
    """(application, name) of those that got traffic."""
    rejection: str | None = None

    @classmethod
    def of(cls, decision: Decision, rejection: str | None) -> "Published":
        return cls(decision.ready, frozenset((id_.application, id_.name) for id_ in decision.roster.routed), rejection)


@dataclass(frozen=True, slots=True)
class Change:
    verb: str
    reason: str
    message: str
    replica: ReplicaChange | None = None


def changes(before: Published, decision: Decision, rejection: str | None) -> Iterator[Change]:
    """Yield events for what changed: replicas first, then the endpoint itself.

    `rejection`: Envoy's message about the newest configuration, if it rejected it.
    """
    candidates = {
        (candidate.replica.id.application, candidate.replica.id.name): candidate for candidate in decision.candidates
    }
    reason, message = str(decision.reason), decision.message
    now = Published.of(decision, rejection)
    for added in sorted(now.replicas - before.replicas):
        replica = candidates[added].replica
        change = ReplicaChange(name=replica.id.name, host=replica.host, port=replica.port, state=replica.state)
        yield Change("replica-added", reason, message, change)
    for removed in sorted(before.replicas - now.replicas):
        excluded = candidates.get(removed)
        change = ReplicaChange(name=removed[1], state=excluded.replica.state if excluded is not None else "gone")
        why = f"{removed[1]}: {excluded.excluded}" if excluded is not None else f"{removed[1]} is gone"
        yield Change("replica-removed", reason, why, change)
    if now.ready != before.ready:
        yield Change("ready" if now.ready else "not-ready", reason, message)
    if rejection is not None and rejection != before.rejection:
        yield Change("rejected", REJECTED, rejection)


def rollout_change(before: ArksEndpointStatus | None, after: ArksEndpointStatus) -> Change | None:
    """Return the event of a step or an outcome of a rollout; None if none is new."""
    was, now = before.rollout if before is not None else None, after.rollout
    if now is None or (was is not None and (was.canary, was.phase, was.step) == (now.canary, now.phase, now.step)):
        return None
    message = f"{now.canary} gets {now.percent} % of the requests: {now.message}"
    return Change(_VERBS[now.phase], str(now.phase), message)
