"""Which events a decision is worth. Pure."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from arks.endpoint_router.domain import Decision
from arks.events.v1.events_pb2 import ReplicaChange


@dataclass(frozen=True, slots=True)
class Known:
    """What was announced before."""

    ready: bool
    replicas: AbstractSet[tuple[str, str]]
    """(application, name) of those that got traffic."""


@dataclass(frozen=True, slots=True)
class Change:
    verb: str
    replica: ReplicaChange | None = None


def changes(before: Known, decision: Decision) -> Iterator[Change]:
    """Replicas first, then the endpoint itself."""
    candidates = {(one.replica.id.application, one.replica.id.name): one.replica for one in decision.candidates}
    now = {(one.application, one.name) for one in decision.routed}
    for added in sorted(now - before.replicas):
        replica = candidates[added]
        change = ReplicaChange(name=replica.id.name, host=replica.host, port=replica.port, state=replica.state)
        yield Change("replica-added", change)
    for removed in sorted(before.replicas - now):
        gone = candidates.get(removed)
        change = ReplicaChange(name=removed[1], state=gone.state if gone is not None else "gone")
        yield Change("replica-removed", change)
    if decision.ready != before.ready:
        yield Change("ready" if decision.ready else "not-ready")
