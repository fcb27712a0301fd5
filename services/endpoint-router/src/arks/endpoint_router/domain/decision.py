"""One decision about one endpoint, as a value: the weight of every replica, with its reason for users."""

import math
from enum import StrEnum

from msgspec import Struct

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain.limits import Limits
from arks.endpoint_router.domain.load import Signals, Unit
from arks.endpoint_router.domain.replicas import ReplicaId, RoutedReplica
from arks.endpoint_router.domain.scores import Score, backlog_seconds
from arks.endpoint_router.domain.shares import Share


class Source(StrEnum):
    """What weights were made from, best first. `in-flight` would stand between the first two; no service reports
    counts of requests in flight yet."""

    ENGINE = "engine"
    STATIC = "static"
    EQUAL = "equal"


class Reason(StrEnum):
    """Why an endpoint is ready or not; reasons of its Ready condition."""

    ROUTED = "Routed"
    NO_READY_REPLICAS = "NoReadyReplicas"
    NO_APPLICATION = "NoApplication"


class Portion(Struct, frozen=True, gc=False):
    """An application's share of the endpoint's traffic."""

    share: Share
    fraction: float
    """0 to 1. The fraction of an application without a ready replica goes to the others."""
    ready: int
    replicas: int


class RoutedGroup(Struct, frozen=True, gc=False):
    """Replicas of one application that are alike: a locality in Envoy."""

    application: str
    name: str
    weight: int
    """Of the group; those of an application's groups add up to its part of WEIGHT_TOTAL."""
    replicas: int

    @property
    def replica_weight(self) -> int:
        """Return the weight that each member is shown with."""
        return max(1, round(self.weight / self.replicas))


class Candidate(Struct, frozen=True, gc=False):
    """A replica, its weight, and the inputs of that weight."""

    replica: RoutedReplica
    weight: int
    """Its part of its group's weight. 0: no new request."""
    score: Score | None
    signals: Signals | None
    doubt: str | None
    """Why its signals cannot be used; None if they can, or if it is excluded."""
    peers: int
    """Replicas of its application that get traffic, itself included."""
    excluded: str = ""
    """Why it gets no traffic; empty if it gets some."""

    @property
    def group(self) -> str:
        """Return the name of its group; its application's for a replica that gets no traffic."""
        return self.score.group if self.score is not None else self.replica.id.application

    @property
    def slots(self) -> float:
        """Return its slots: from the application's fact, from its engine, or as observed; 0 if they are unknown."""
        if self.replica.slots or self.signals is None:
            return float(self.replica.slots)
        observed = self.signals.observed_slots
        return float(self.signals.reading.slots) or observed.full_at or observed.most_running

    @property
    def draining(self) -> bool:
        return self.replica.state is ReplicaState.DRAINING

    def explanation(self, now: float | None = None) -> str:
        """Return why it has this weight, for users; with `now` also the age of the evidence."""
        if self.excluded or self.score is None:
            return self.excluded
        return f"{self._comparison(self.score)}; {self._evidence(now)}"

    def _comparison(self, score: Score) -> str:
        if self.peers == 1:
            text = "the only ready replica of its application"
        elif math.isclose(score.value, 1.0):
            text = f"an even share among {self.peers} replicas"
        else:
            text = f"{score.value:.2f} times an even share among {self.peers} replicas"
        return text if score.group in {"", self.replica.id.application} else f"{text}, in group {score.group}"

    def _evidence(self, now: float | None) -> str:
        if self.signals is None:
            return f"{self.doubt}; it counts by its slots"
        if self.doubt is not None:
            return f"{self.doubt}; what was measured before holds"
        reading = self.signals.reading
        parts = [
            f"{'?' if value is None else f'{value:g}'} {name}"
            for name, value in (("running", reading.running), ("waiting", reading.waiting))
        ]
        if (backlog := backlog_seconds(self.signals)) >= 0.05:
            parts[1] += f" (lately {backlog:.1f} s of work)"
        if reading.kv_usage is not None:
            parts.append(f"KV cache {reading.kv_usage:.0%}")
        parts += [f"{speed:.2f} {unit}/s a slot" for unit in Unit if (speed := self.signals.speed(unit)) is not None]
        if now is not None:
            parts.append(f"{max(0.0, now - reading.measured_at):.1f} s ago")
        return ", ".join(parts)


def affinity_room(slots: float) -> int:
    """Return how many requests in flight a replica takes before affinity counts it as busy: up to half of its slots.

    With few requests in flight a bound by the mean would send every second request away from its cache, though nothing
    waits. A power of two, so that observed slots, which vary, change nothing in Envoy most of the time.
    """
    half = int(slots / 2)
    return 1 << (half.bit_length() - 1) if half else 0


class Decision(Struct, frozen=True, gc=False):
    endpoint: str
    now: float
    """When it was taken, in seconds since the epoch."""
    reason: Reason
    message: str
    source: Source
    portions: tuple[Portion, ...]
    candidates: tuple[Candidate, ...]
    """Sorted by application and name."""
    groups: tuple[RoutedGroup, ...]
    """Those with replicas that get traffic, sorted by application and name."""
    unrouted: tuple[str, ...]
    """Messages about static entries that cannot be followed."""
    engine_model: str = ""
    """The name under which its engines serve the model: that of the application with the largest share."""
    unsupported: tuple[str, ...] = ()
    """What at least one of its applications takes in a request and does not keep, sorted."""
    joins_streams: bool = False
    """Its engines end the work for a client that leaves for streams only, so they make a stream of each answer."""
    load_limit_percent: int | None = None
    """As in the endpoint's spec; None: requests go to the replica with the fewest."""
    limits: Limits = Limits()
    held: bool = False
    """Some shares are those of before the router's start, because no load was reported yet."""

    @property
    def ready(self) -> bool:
        return self.reason is Reason.ROUTED

    @property
    def routed(self) -> dict[ReplicaId, int]:
        """Weights of the replicas that get traffic."""
        return {candidate.replica.id: candidate.weight for candidate in self.candidates if candidate.weight}

    @property
    def scores(self) -> dict[ReplicaId, Score]:
        """Input of the next decision."""
        return {candidate.replica.id: candidate.score for candidate in self.candidates if candidate.score is not None}

    @property
    def rooms(self) -> dict[ReplicaId, int]:
        """Return, with affinity, how many requests each replica takes before it can be busy."""
        if self.load_limit_percent is None:
            return {}
        return {candidate.replica.id: affinity_room(candidate.slots) for candidate in self.candidates}

    def same_traffic(self, other: "Decision | None") -> bool:
        """Return whether Envoy and users who read weights would see no difference."""
        return (
            other is not None
            and self.groups == other.groups
            and self.limits == other.limits
            and self._setting == other._setting
            and len(self.candidates) == len(other.candidates)
            and all(map(_same_traffic, self.candidates, other.candidates))
            and self.rooms == other.rooms
        )

    @property
    def _setting(self) -> tuple[object, ...]:
        """Return what changes seldom."""
        served = self.engine_model, self.unsupported, self.joins_streams
        return self.load_limit_percent, self.reason, self.message, self.source, self.unrouted, served


def _same_traffic(mine: Candidate, other: Candidate) -> bool:
    return mine.weight == other.weight and mine.group == other.group and mine.replica == other.replica
