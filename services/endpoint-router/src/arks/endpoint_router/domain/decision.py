"""One decision about one endpoint, as a value: what every replica gets, and why, in words."""

import math
from dataclasses import dataclass
from enum import StrEnum

from arks.endpoint_router.domain.load import Signals, Unit
from arks.endpoint_router.domain.replicas import Replica, ReplicaId, State
from arks.endpoint_router.domain.scores import Score, backlog_seconds
from arks.endpoint_router.domain.shares import Share


class Source(StrEnum):
    """What weights were made from, best first. Counts of requests in flight would stand between the first two; nobody
    reports them yet."""

    ENGINE = "engine"
    STATIC = "static"
    EQUAL = "equal"


class Reason(StrEnum):
    """Why an endpoint is ready or not; as in its Ready condition."""

    ROUTED = "Routed"
    NO_READY_REPLICAS = "NoReadyReplicas"
    NO_APPLICATION = "NoApplication"


@dataclass(frozen=True, slots=True)
class Portion:
    """What one application gets of the endpoint."""

    share: Share
    part: float
    """0 to 1. Applications without a ready replica leave theirs to the others."""
    ready: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """One replica with all that its weight was made from."""

    replica: Replica
    weight: int
    """0: no new request."""
    score: Score | None
    signals: Signals | None
    doubt: str | None
    peers: int
    excluded: str = ""
    """Why it gets nothing; empty when it gets traffic."""

    @property
    def draining(self) -> bool:
        return self.replica.state is State.DRAINING

    def words(self, now: float | None = None) -> str:
        """Why it has this weight; with `now`, also how old the evidence is."""
        if self.excluded or self.score is None:
            return self.excluded
        if self.peers == 1:
            place = "the only ready replica of its application"
        elif math.isclose(self.score.value, 1.0):
            place = f"an even share among {self.peers} replicas"
        else:
            place = f"{self.score.value:.2f} times an even share among {self.peers} replicas"
        if self.score.value != self.score.target:
            place += f", moving to {self.score.target:.2f}"
        return f"{place}; {self._evidence(now)}"

    def _evidence(self, now: float | None) -> str:
        if self.doubt is not None or self.signals is None:
            return f"{self.doubt}, so it counts as average at best, not as idle"
        reading = self.signals.reading
        parts = [
            f"{'?' if value is None else f'{value:g}'} {name}"
            for name, value in (("running", reading.running), ("waiting", reading.waiting))
        ]
        if (backlog := backlog_seconds(self.signals)) >= 0.05:
            parts[1] += f" (lately {backlog:.1f} s of work)"
        if reading.kv_usage is not None:
            parts.append(f"KV cache {reading.kv_usage:.0%}")
        parts += [f"{speed:.2f} {unit}/s a place" for unit in Unit if (speed := self.signals.speed(unit)) is not None]
        if now is not None:
            parts.append(f"{max(0.0, now - reading.measured_at):.1f} s ago")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Decision:
    endpoint: str
    now: float
    """Seconds since the epoch at which it was taken."""
    reason: Reason
    message: str
    source: Source
    portions: tuple[Portion, ...]
    candidates: tuple[Candidate, ...]
    """Sorted by application and name."""
    unrouted: tuple[str, ...]

    @property
    def ready(self) -> bool:
        return self.reason is Reason.ROUTED

    @property
    def settled(self) -> bool:
        """Whether taking it again, with nothing new, would change nothing."""
        return all(one.score is None or one.score.value == one.score.target for one in self.candidates)

    @property
    def routed(self) -> dict[ReplicaId, int]:
        return {one.replica.id: one.weight for one in self.candidates if one.weight}

    @property
    def scores(self) -> dict[ReplicaId, float]:
        """For the next decision."""
        return {one.replica.id: one.score.value for one in self.candidates if one.score is not None}

    def same_traffic(self, other: "Decision | None") -> bool:
        """Whether Envoy and people who ask for weights would see no difference."""
        if other is None:
            return False
        mine = [(one.replica, one.weight) for one in self.candidates]
        theirs = [(one.replica, one.weight) for one in other.candidates]
        return mine == theirs and (self.reason, self.message, self.source, self.unrouted) == (
            *(other.reason, other.message, other.source),
            other.unrouted,
        )
