"""Decide which replica is started, drained or stopped next. Pure.

A new spec replaces replicas one at a time. If memory holds one more, the new one is ready before an old one drains;
otherwise an old one is stopped first.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from arks.app_deployer.domain.workload import ALIVE, ENDED, ObservedReplica
from arks.contracts.resources import InstanceState

_NO_WORK: Mapping[str, float] = {}


class Verb(StrEnum):
    START = "start"
    """A new engine, or the restart of an ended one."""
    DRAIN = "drain"
    """Let it finish its requests, then stop it."""
    STOP = "stop"
    """At once: it has no traffic."""


@dataclass(frozen=True, slots=True)
class Step:
    verb: Verb
    replica: str


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[Step, ...]
    short_of_memory: bool = False
    """A replica is missing, may start now, does not fit, and no other is stopping."""
    held_back: bool = False
    """A replica is missing, fits, and waits until others are ready."""


def plan(
    application: str,
    desired: int,
    replicas: Sequence[ObservedReplica],
    *,
    room: int,
    room_without_outdated: int = 1,
    due: frozenset[str] = frozenset(),
    at_once: int = 2**31,
    without_surge: bool = False,
    work: Mapping[str, float] = _NO_WORK,
) -> Plan:
    """`room`: how many more replicas memory holds now. `due`: ended replicas whose delay is over.

    `room_without_outdated`: how many it holds once the outdated have ended; if none, these keep serving.
    `at_once`: how many more may load at the same time, so that a large number does not choke the machine.
    `without_surge`: an update has at most the desired number of replicas, so old ones stop first.
    `work`: requests in flight by replica. Of replicas that serve, those with the least are removed first.
    """
    ours = [replica for replica in replicas if replica.state is not InstanceState.DRAINING]
    drop = _useless(ours) | _surplus(ours, desired, work)
    kept = [replica for replica in ours if replica.name not in drop]
    allowed = _allowed(kept, due, most=desired - len(_draining(replicas)) if without_surge else desired + 1)
    # One more than memory holds shows that it is short; names of all would take gigabytes for a mistyped number.
    starts = _candidates(application, desired, kept, replicas, due, most_new=max(0, room) + 1)[:allowed]
    short = len(starts) > room
    fitting = starts[: max(0, room)]
    starts = fitting[: max(0, at_once)]
    blocked = short or (without_surge and bool(_outdated(kept)) and _all_serve(kept))
    if blocked and room_without_outdated and not fitting and not drop and _may_make_room(kept, replicas):
        drop = {max(_outdated(kept), key=_keeping_order(work)).name}
    steps = [_removal_step(replica) for replica in ours if replica.name in drop]
    terminating = bool(steps) or len(ours) < len(replicas)
    steps += [Step(Verb.START, name) for name in starts]
    return Plan(tuple(steps), short_of_memory=short and not terminating, held_back=len(starts) < len(fitting))


def _removal_step(replica: ObservedReplica) -> Step:
    return Step(Verb.DRAIN if replica.state is InstanceState.READY else Verb.STOP, replica.name)


def _useless(replicas: Sequence[ObservedReplica]) -> set[str]:
    """Outdated replicas without traffic."""
    return {replica.name for replica in replicas if not replica.updated and replica.state is not InstanceState.READY}


def _surplus(replicas: Sequence[ObservedReplica], desired: int, work: Mapping[str, float]) -> set[str]:
    """Current replicas above the desired number, and outdated ones that ready current ones replace."""
    order = _keeping_order(work)
    current = sorted((replica for replica in replicas if replica.updated), key=order)
    removed = {replica.name for replica in current[desired:]}
    ready = [replica for replica in replicas if replica.state is InstanceState.READY and replica.name not in removed]
    outdated = sorted(_outdated(ready), key=order, reverse=True)
    return removed | {replica.name for replica in outdated[: max(0, len(ready) - desired)]}


def _keeping_order(work: Mapping[str, float]) -> Callable[[ObservedReplica], tuple[bool, bool, float, int, str]]:
    """Those that serve are kept before those that load, these before those that ended; then those with more work; then
    low numbers first."""

    def order(replica: ObservedReplica) -> tuple[bool, bool, float, int, str]:
        requests = work.get(replica.name, 0.0)
        serves = replica.state is InstanceState.READY
        return (not serves, replica.state in ENDED, -requests, len(replica.name), replica.name)

    return order


def _outdated(replicas: Sequence[ObservedReplica]) -> list[ObservedReplica]:
    return [replica for replica in replicas if not replica.updated]


def _candidates(
    application: str,
    desired: int,
    kept: Sequence[ObservedReplica],
    all_replicas: Sequence[ObservedReplica],
    due: frozenset[str],
    *,
    most_new: int,
) -> list[str]:
    """Names to start without limits: ended replicas whose delay is over, then new ones."""
    current = [replica for replica in kept if replica.updated]
    restart = [replica.name for replica in current if replica.state in ENDED and replica.name in due]
    return restart + _new_names(application, min(desired - len(current), most_new), all_replicas)


def _draining(replicas: Sequence[ObservedReplica]) -> list[ObservedReplica]:
    return [replica for replica in replicas if replica.state is InstanceState.DRAINING]


def _all_serve(replicas: Sequence[ObservedReplica]) -> bool:
    return all(replica.state is InstanceState.READY for replica in replicas)


def _allowed(kept: Sequence[ObservedReplica], due: frozenset[str], *, most: int) -> int | None:
    """During an update: one at a time, and `most` replicas altogether. None: no limit."""
    if not (outdated := _outdated(kept)):
        return None
    current = [replica for replica in kept if replica.updated]
    alive = sum(replica.state in ALIVE for replica in current)
    unready = sum(
        replica.state is not InstanceState.READY and not (replica.state in ENDED and replica.name in due)
        for replica in current
    )
    return max(0, min(1 - unready, most - alive - len(outdated)))


def _new_names(application: str, count: int, all_replicas: Sequence[ObservedReplica]) -> list[str]:
    """`<application>-<number>`, the lowest free numbers."""
    name_taken = {replica.name for replica in all_replicas}
    names: list[str] = []
    number = 0
    while len(names) < count:
        name = f"{application}-{number}"
        if name not in name_taken:
            names.append(name)
        number += 1
    return names


def _may_make_room(kept: Sequence[ObservedReplica], all_replicas: Sequence[ObservedReplica]) -> bool:
    """True if an old replica may stop first: none is starting or draining already."""
    moving = any(replica.state not in ENDED | {InstanceState.READY} for replica in all_replicas)
    return bool(_outdated(kept)) and not moving
