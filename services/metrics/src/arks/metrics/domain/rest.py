"""How often an application is read that has nothing to do.

A replica that is alone in its application and idle decides nothing: nobody is compared with it. Hundreds of those would
otherwise keep a core busy with saying that they are idle. It is read as often as any other from the moment that it is
seen to work.
"""

from dataclasses import dataclass

from arks.metrics.domain.engines import Snapshot

REST_AFTER_SECONDS = 10.0
"""So long a replica has been idle before it rests: longer than the window that speeds are means over."""
READS_PER_SECOND = 8.0
"""Of all that are alone and idle together: about 1 % of a core."""
FIRST_READS_PER_SECOND = 100.0
"""After a start, when nothing is known of hundreds and others need the processor more."""
REST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
"""Half of the age at which routing no longer believes a replica that is alone."""


@dataclass(frozen=True, slots=True)
class Idleness:
    """Since when a replica has had nothing to do, as far as its readings say."""

    since: float
    """Monotonic."""
    looked_at: float
    seen: Snapshot
    idle: bool
    """Whether it had nothing to do now, nor since the look before."""

    @staticmethod
    def at_first(snapshot: Snapshot, now: float) -> "Idleness":
        return Idleness(now, now, snapshot, not snapshot.busy)

    def after(self, snapshot: Snapshot, now: float) -> "Idleness":
        """Counters that moved between two looks were work as well."""
        worked = snapshot.busy or _done(snapshot) != _done(self.seen)
        return Idleness(now if worked else self.since, now, snapshot, not worked)

    def pause_seconds(self, idle: int, tick_seconds: float) -> float:
        """Until the next look, where so many replicas are alone and idle."""
        rests = self.looked_at - self.since >= REST_AFTER_SECONDS
        return max(REST_SECONDS if rests else tick_seconds, min(idle / READS_PER_SECOND, LONGEST_SECONDS))


def first_seconds(alone: int, tick_seconds: float) -> float:
    """Over so long the first looks at so many replicas are spread."""
    return max(tick_seconds, min(alone / FIRST_READS_PER_SECOND, LONGEST_SECONDS))


def _done(snapshot: Snapshot) -> tuple[float | None, ...]:
    return snapshot.prompt_tokens, snapshot.generation_tokens, snapshot.finished_requests
