"""How often an application is read that has nothing to do.

A replica that is alone in its application and idle decides nothing: nobody is compared with it. Hundreds of those would
otherwise keep a core busy with saying that they are idle. It is read as often as any other from the moment that it is
seen to work.
"""

from dataclasses import dataclass

from arks.metrics.domain.engines import Snapshot

REST_AFTER_SECONDS = 10.0
"""So long a replica has been idle before it rests: longer than the window that speeds are means over."""
READS_PER_SECOND = 15.0
"""Of all that rest together: about 1 % of a core."""
SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 30.0
"""Half of the age at which routing no longer believes a replica that is alone."""


@dataclass(frozen=True, slots=True)
class Idleness:
    """Since when a replica has had nothing to do, as far as its readings say."""

    since: float
    """Monotonic."""
    seen: Snapshot

    def after(self, snapshot: Snapshot, now: float) -> "Idleness":
        """Counters that moved between two looks were work as well."""
        worked = snapshot.busy or _done(snapshot) != _done(self.seen)
        return Idleness(now if worked else self.since, snapshot)

    def rests(self, now: float) -> bool:
        return not self.seen.busy and now - self.since >= REST_AFTER_SECONDS


def pause_seconds(resting: int) -> float:
    """Between two looks at one of so many that rest."""
    return min(max(resting / READS_PER_SECOND, SHORTEST_SECONDS), LONGEST_SECONDS)


def _done(snapshot: Snapshot) -> tuple[float | None, ...]:
    return snapshot.prompt_tokens, snapshot.generation_tokens, snapshot.finished_requests
