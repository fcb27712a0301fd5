"""Which events a decision is worth. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from arks.endpoint_router.domain import Decision
from arks.events.v1.events_pb2 import ReplicaChange

REJECTED = "ConfigurationRejected"


@dataclass(frozen=True, slots=True)
class Known:
    """What was announced before."""

    ready: bool
    replicas: frozenset[tuple[str, str]]
    """(application, name) of those that got traffic."""
    refusal: str | None = None

    @classmethod
    def of(cls, decision: Decision, refusal: str | None) -> "Known":
        return cls(decision.ready, frozenset((one.application, one.name) for one in decision.routed), refusal)


@dataclass(frozen=True, slots=True)
class Change:
    verb: str
    reason: str
    message: str
    replica: ReplicaChange | None = None


def changes(before: Known, decision: Decision, refusal: str | None) -> Iterator[Change]:
    """Replicas first, then the endpoint itself. `refusal`: what Envoy says against the newest configuration."""
    candidates = {(one.replica.id.application, one.replica.id.name): one for one in decision.candidates}
    reason, message = str(decision.reason), decision.message
    now = Known.of(decision, refusal)
    for added in sorted(now.replicas - before.replicas):
        replica = candidates[added].replica
        change = ReplicaChange(name=replica.id.name, host=replica.host, port=replica.port, state=replica.state)
        yield Change("replica-added", reason, message, change)
    for removed in sorted(before.replicas - now.replicas):
        gone = candidates.get(removed)
        change = ReplicaChange(name=removed[1], state=gone.replica.state if gone is not None else "gone")
        why = f"{removed[1]}: {gone.excluded}" if gone is not None else f"{removed[1]} is gone"
        yield Change("replica-removed", reason, why, change)
    if now.ready != before.ready:
        yield Change("ready" if now.ready else "not-ready", reason, message)
    if refusal is not None and refusal != before.refusal:
        yield Change("rejected", REJECTED, refusal)
