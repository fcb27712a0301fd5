"""Which replica is started, drained or stopped next. Pure: what is there in, steps out.

A new spec replaces replicas one at a time. Where memory holds one more, the new one is ready before an old one drains;
where it does not, one old one makes room first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from arks.app_deployer.domain.workload import ALIVE, ENDED, Replica, ReplicaState


class Verb(StrEnum):
    START = "start"
    """Also again, when it has ended."""
    DRAIN = "drain"
    """Let it end its work, then stop it."""
    STOP = "stop"
    """At once: it serves nobody."""


@dataclass(frozen=True, slots=True)
class Step:
    verb: Verb
    replica: str


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[Step, ...]
    short_of_memory: bool = False
    """A replica is wanted, may be started now, does not fit, and nobody is about to leave."""
    held_back: bool = False
    """A replica is wanted, fits, and waits for others to be ready first."""


def plan(
    application: str,
    wanted: int,
    replicas: Sequence[Replica],
    *,
    room: int,
    due: frozenset[str] = frozenset(),
    at_once: int = 2**31,
) -> Plan:
    """`room`: how many more replicas memory holds now. `due`: ended replicas whose delay is over.

    `at_once`: how many more may load at the same time, so that a large number does not choke the machine.
    """
    ours = [replica for replica in replicas if replica.state is not ReplicaState.DRAINING]
    drop = _useless(ours) | _surplus(ours, wanted)
    kept = [replica for replica in ours if replica.name not in drop]
    starts = _candidates(application, wanted, kept, replicas, due)[: _allowed(wanted, kept, due)]
    short = len(starts) > room
    fitting = starts[: max(0, room)]
    starts = fitting[: max(0, at_once)]
    if short and not fitting and not drop and _may_make_room(kept, replicas):
        drop = {_first_to_go(_outdated(kept)).name}
    steps = [_removal(replica) for replica in ours if replica.name in drop]
    leaving = bool(steps) or len(ours) < len(replicas)
    steps += [Step(Verb.START, name) for name in starts]
    return Plan(tuple(steps), short_of_memory=short and not leaving, held_back=len(starts) < len(fitting))


def _removal(replica: Replica) -> Step:
    return Step(Verb.DRAIN if replica.state is ReplicaState.READY else Verb.STOP, replica.name)


def _useless(replicas: Sequence[Replica]) -> set[str]:
    """Of an old spec and serving nobody."""
    return {replica.name for replica in replicas if not replica.updated and replica.state is not ReplicaState.READY}


def _surplus(replicas: Sequence[Replica], wanted: int) -> set[str]:
    """More current ones than wanted, and old ones that the ready current ones have made superfluous."""
    current = sorted((replica for replica in replicas if replica.updated), key=_keeping_order)
    gone = {replica.name for replica in current[wanted:]}
    ready = [replica for replica in replicas if replica.state is ReplicaState.READY and replica.name not in gone]
    outdated = sorted(_outdated(ready), key=_keeping_order, reverse=True)
    return gone | {replica.name for replica in outdated[: max(0, len(ready) - wanted)]}


def _keeping_order(replica: Replica) -> tuple[bool, bool, int, str]:
    """Those that serve are kept before those that load, these before those that ended; then low numbers first."""
    return (replica.state is not ReplicaState.READY, replica.state in ENDED, len(replica.name), replica.name)


def _first_to_go(replicas: Sequence[Replica]) -> Replica:
    return max(replicas, key=_keeping_order)


def _outdated(replicas: Sequence[Replica]) -> list[Replica]:
    return [replica for replica in replicas if not replica.updated]


def _candidates(
    application: str, wanted: int, kept: Sequence[Replica], everyone: Sequence[Replica], due: frozenset[str]
) -> list[str]:
    """Names to start if nothing stood against it: ended ones whose time has come, then new ones."""
    current = [replica for replica in kept if replica.updated]
    again = [replica.name for replica in current if replica.state in ENDED and replica.name in due]
    return again + _new_names(application, wanted - len(current), everyone)


def _allowed(wanted: int, kept: Sequence[Replica], due: frozenset[str]) -> int | None:
    """During an update: one at a time, and at most one replica more than wanted. None: no limit."""
    if not (outdated := _outdated(kept)):
        return None
    current = [replica for replica in kept if replica.updated]
    alive = sum(replica.state in ALIVE for replica in current)
    unready = sum(
        replica.state is not ReplicaState.READY and not (replica.state in ENDED and replica.name in due)
        for replica in current
    )
    return max(0, min(1 - unready, wanted + 1 - alive - len(outdated)))


def _new_names(application: str, count: int, everyone: Sequence[Replica]) -> list[str]:
    """`<application>-<number>`, the lowest numbers that nobody has."""
    taken = {replica.name for replica in everyone}
    names: list[str] = []
    number = 0
    while len(names) < count:
        name = f"{application}-{number}"
        if name not in taken:
            names.append(name)
        number += 1
    return names


def _may_make_room(kept: Sequence[Replica], everyone: Sequence[Replica]) -> bool:
    """An old replica may go first if none is on its way out or in already; `plan` sees to those that it sends away."""
    moving = any(replica.state not in ENDED | {ReplicaState.READY} for replica in everyone)
    return bool(_outdated(kept)) and not moving
