"""Polling interval of idle applications.

The load of an application's only replica changes no weight, because there is no other replica to compare it with.
Reading hundreds of idle ones at full rate would keep a core busy. The first reading that shows work restores the rate.
"""

from dataclasses import dataclass

from arks.metrics.domain.engines import Snapshot

REST_AFTER_SECONDS = 10.0
"""Idle time before a replica rests. Longer than the window of the token rates."""
READS_PER_SECOND = 8.0
"""Of all resting applications together: about 1 % of a core."""
FIRST_READS_PER_SECOND = 100.0
"""Of the first reads after a start, while other services need the processor more."""
REST_SECONDS = 1.0
"""A replica that rests and is alone is read at this interval, and each reading is reported."""
REPORT_SECONDS = 2.0
"""Several replicas that all rest are read at each tick, and reported at this interval: routing takes a report as the
present for 3 s, and one without work for 5 s."""
LONGEST_SECONDS = 60.0
"""Half of the age at which routing no longer believes a replica that is alone."""


@dataclass(frozen=True, slots=True)
class Idleness:
    """How long a replica has been idle according to its readings."""

    since: float
    """Monotonic."""
    read_at: float
    seen: Snapshot
    idle: bool
    """Whether it had no work now and none since the previous reading."""

    @staticmethod
    def at_first(snapshot: Snapshot, now: float) -> "Idleness":
        return Idleness(now, now, snapshot, not snapshot.busy)

    def after(self, snapshot: Snapshot, now: float) -> "Idleness":
        """The idleness after one more reading. A counter that moved between two readings is work, too."""
        worked = snapshot.busy or _done(snapshot) != _done(self.seen)
        return Idleness(now if worked else self.since, now, snapshot, not worked)

    @property
    def rests(self) -> bool:
        """Whether the replica has been idle for so long that nothing about it changes."""
        return self.idle and self.read_at - self.since >= REST_AFTER_SECONDS

    def pause_seconds(self, idle: int, tick_seconds: float) -> float:
        """Pause before the next reading. `idle`: the number of applications whose only replica is idle."""
        return max(REST_SECONDS if self.rests else tick_seconds, min(idle / READS_PER_SECOND, LONGEST_SECONDS))


def report_seconds(replicas: int) -> float:
    """The least time between two reports of so many replicas while they all rest."""
    return REPORT_SECONDS if replicas > 1 else 0.0


def first_seconds(applications: int, tick_seconds: float) -> float:
    """The time over which the first reads of this many applications are spread."""
    return max(tick_seconds, min(applications / FIRST_READS_PER_SECOND, LONGEST_SECONDS))


def _done(snapshot: Snapshot) -> tuple[float | None, ...]:
    return snapshot.prompt_tokens, snapshot.generation_tokens, snapshot.finished_requests
