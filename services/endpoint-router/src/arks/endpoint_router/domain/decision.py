"""One decision about one endpoint, as a value: the weight of every replica, with its reason for users."""

import math
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from msgspec import Struct

from arks.contracts.facts import ReplicaState
from arks.endpoint_router.domain.native import Comparisons, Evidence, Limits, RankedGroup
from arks.endpoint_router.domain.replicas import ReplicaId, RoutedReplica
from arks.endpoint_router.domain.roster import Pool, Portion, Reason, Roster

Member = tuple[int | None, Evidence | None, str | None]
"""Of a replica: index of its group, evidence, doubt."""


class Source(StrEnum):
    """What weights were made from, best first. `in-flight` would stand between the first two; no service reports
    counts of requests in flight yet."""

    ENGINE = "engine"
    STATIC = "static"
    EQUAL = "equal"


class Unit(StrEnum):
    """Unit of work. Speeds compare only in the same unit."""

    TOKENS = "tokens"
    REQUESTS = "requests"


class Score(Struct, frozen=True, gc=False):
    """How a replica compares with the others of its application: 1 is an even share of its traffic, 2 is twice that."""

    value: float
    target: float
    """The score that follows from the newest reports; `value` stays while it differs by little."""
    group: str
    share: float
    """Of the application's traffic, 0 to 1; the exact form of `value`."""


class RoutedGroup(Struct, frozen=True, gc=False):
    """Replicas of one application that are alike: a locality in Envoy."""

    application: str
    name: str
    weight: int
    """Of the group; those of an application's groups add up to its part of WEIGHT_TOTAL."""
    replicas: int


class Candidate(Struct, frozen=True, gc=False):
    """A replica, its weight, and the inputs of that weight."""

    replica: RoutedReplica
    weight: int
    """Its part of its group's weight. 0: no new request."""
    score: Score | None
    evidence: Evidence | None
    """What was measured of it; None if nothing was reported."""
    doubt: str | None
    """Why its newest reading cannot be used; None if it can, or if it is excluded."""
    peers: int
    """Replicas of its application that get traffic, itself included."""
    excluded: str = ""
    """Why it gets no traffic; empty if it gets some."""

    @property
    def group(self) -> str:
        """Return the name of its group; its application's for a replica that gets no traffic."""
        return self.score.group if self.score is not None else self.replica.id.application

    @property
    def draining(self) -> bool:
        return self.replica.state is ReplicaState.DRAINING

    def explanation(self, now: float | None = None) -> str:
        """Return why it has this weight, for users; with `now` also the age of the evidence."""
        if self.excluded or self.score is None:
            return self.excluded
        return f"{self._comparison(self.score)}; {self._measured(now)}"

    def _comparison(self, score: Score) -> str:
        if self.peers == 1:
            text = "the only ready replica of its application"
        elif math.isclose(score.value, 1.0):
            text = f"an even share among {self.peers} replicas"
        else:
            text = f"{score.value:.2f} times an even share among {self.peers} replicas"
        return text if score.group in {"", self.replica.id.application} else f"{text}, in group {score.group}"

    def _measured(self, now: float | None) -> str:
        if self.evidence is None:
            return f"{self.doubt}; it counts by its slots"
        if self.doubt is not None:
            return f"{self.doubt}; what was measured before holds"
        reading = self.evidence.reading
        parts = [
            f"{'?' if value is None else f'{value:g}'} {name}"
            for name, value in (("running", reading.running), ("waiting", reading.waiting))
        ]
        if (backlog := _backlog_seconds(self.evidence)) >= 0.05:
            parts[1] += f" (lately {backlog:.1f} s of work)"
        if slots := _slots(self.replica.slots or reading.slots, self.evidence.full_at):
            parts.append(slots)
        if reading.kv_usage is not None:
            parts.append(f"KV cache {reading.kv_usage:.0%}")
        parts += [f"{speed:.2f} {unit}/s a slot" for unit in Unit if (speed := self.evidence.speed(unit)) is not None]
        if now is not None:
            parts.append(f"{max(0.0, now - reading.measured_at):.1f} s ago")
        return ", ".join(parts)


def _slots(configured: int, observed: float | None) -> str:
    """Return the slots of a replica in words; empty if they are unknown. `observed`: as its queue shows them."""
    if observed is None or (configured and round(observed) >= configured):
        return f"{configured} slots" if configured else ""
    return f"{observed:.0f}{f' of {configured}' if configured else ''} slots by its queue"


def _backlog_seconds(evidence: Evidence) -> float:
    """Return how long the replica needs for its queue; a second a request while its drain rate is unknown."""
    return evidence.mean_waiting / (evidence.reading.drain_rate or 1.0)


class Decision(Struct, frozen=True):
    roster: Roster
    comparisons: Comparisons
    """Of its pools; the next decision depends on them."""
    source: Source
    now: float
    """When it was taken, in seconds since the epoch."""

    @property
    def endpoint(self) -> str:
        return self.roster.endpoint

    @property
    def reason(self) -> Reason:
        return self.roster.reason

    @property
    def message(self) -> str:
        return self.roster.message

    @property
    def ready(self) -> bool:
        return self.reason is Reason.ROUTED

    @property
    def portions(self) -> tuple[Portion, ...]:
        return self.roster.portions

    @property
    def limits(self) -> Limits:
        return self.comparisons.limits

    @property
    def held(self) -> bool:
        """Return whether some shares are those of before the router's start, because no load was reported yet."""
        return self.comparisons.held

    @property
    def groups(self) -> list[RoutedGroup]:
        """Return the groups with replicas that get traffic, sorted by application and name."""
        found = [
            RoutedGroup(pool.application, group.name, group.weight, group.size)
            for pool, groups in zip(self.roster.pools, self.comparisons.groups, strict=True)
            for group in groups
        ]
        return sorted(found, key=lambda group: (group.application, group.name))

    @property
    def candidates(self) -> list[Candidate]:
        """Return the replicas, sorted by application and name. They are made at each call: most decisions need none."""
        found: list[Candidate] = []
        for pool, groups, members in zip(
            self.roster.pools, self.comparisons.groups, self.comparisons.members, strict=True
        ):
            found += _candidates(pool, groups, members)
        return sorted(found, key=lambda candidate: candidate.replica.id)

    @property
    def routed(self) -> dict[ReplicaId, int]:
        """Return the weights of the replicas that get traffic."""
        return {candidate.replica.id: candidate.weight for candidate in self.candidates if candidate.weight}

    def same_traffic(self, other: "Decision | None") -> bool:
        """Return whether Envoy and users who read weights would see no difference."""
        return (
            other is not None
            and self.source == other.source
            and self.roster.is_like(other.roster)
            and self.comparisons.has_same_traffic(other.comparisons)
            and (self.roster.spec.load_limit_percent is None or self.comparisons.has_same_rooms(other.comparisons))
        )


def _candidates(pool: Pool, groups: Sequence[RankedGroup], members: Iterable[Member]) -> Iterator[Candidate]:
    """Yield the replicas of one application."""
    count = sum(group.size for group in groups)
    scores = [
        Score(
            round(count * group.share / group.size, 3),
            round(count * group.target / group.size, 3),
            group.name,
            group.share / group.size,
        )
        for group in groups
    ]
    weights = [group.member_weight for group in groups]
    for replica, (number, evidence, doubt) in zip(pool.replicas, members, strict=True):
        if number is None:
            yield Candidate(replica, 0, None, evidence, None, count, pool.excluded[replica.id])
        else:
            yield Candidate(replica, weights[number], scores[number], evidence, doubt, count)
