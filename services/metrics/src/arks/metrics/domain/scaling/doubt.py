"""Whether the engines' signals can be believed: the gateway counts the same requests."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

ANSWERS_SECONDS, ANSWERS = 30.0, 3
"""So many answers within that time show that a replica works."""
STILL_SECONDS = 45.0
"""A page that shows no work for so long, with such answers within it, is false. Longer than the time of the answers, as
engines may count a request's tokens somewhat before or after the gateway does."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of one ready replica."""

    name: str
    in_flight: float | None
    still_seconds: float = 0.0
    """Since its counter of tokens last rose; without such a counter, since it last had a request."""
    problem: str = ""
    answers: int = 0
    """That came through the gateway in the last 30 s."""


def behind_routers(replicas: Sequence[Signals], answers: int) -> list[Signals]:
    """Signals of engines that requests reach through routers, so that `answers` are those of all of them together.

    An engine that shows no work while others do is suspicious only once each should have had nine of them: a router
    that chooses at random may leave it out of fewer.
    """
    still = all(replica.still_seconds >= STILL_SECONDS for replica in replicas)
    each = answers if still or len(replicas) == 1 else answers // (3 * len(replicas))
    return [replace(replica, answers=each) for replica in replicas]


def doubt(replicas: Sequence[Signals]) -> str:
    """Why the signals are not believed; empty if they are.

    Absent signals are no zeros. Counters that stand still, or show no work, while the gateway counts answers of that
    replica, are those of a page that is frozen or empty.
    """
    for replica in replicas:
        if replica.problem or replica.in_flight is None:
            return f"replica {replica.name} reports nothing: {replica.problem or 'no number of requests'}"
    for replica in replicas:
        if replica.still_seconds >= STILL_SECONDS and replica.answers >= ANSWERS:
            return f"replica {replica.name} reports no work, and the gateway counted {replica.answers} answers of it"
    return ""
