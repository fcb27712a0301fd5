"""Inputs of decisions: replicas, applications and signals, at one time; and what a test reads of a decision."""

from collections.abc import Mapping

from msgspec import structs

from arks.contracts.facts import ReplicaState
from arks.contracts.load import stale_seconds
from arks.endpoint_router.domain import (
    Application,
    Decision,
    DecisionInput,
    EndpointSpec,
    Loads,
    ReplicaId,
    RoutedReplica,
    decide,
)
from arks.endpoint_router.domain.native import Reading, Signals

NOW = 1_000.0
SPEC = EndpointSpec("team", "chat")


def replica(
    name: str, application: str = "a", state: ReplicaState = ReplicaState.READY, port: int = 0, slots: int = 0
) -> RoutedReplica:
    number = port or 9000 + int(name.rsplit("-", 1)[-1]) + 100 * (ord(application[0]) - ord("a"))
    return RoutedReplica(ReplicaId(application, name), "127.0.0.1", number, state, slots)


def applications(*replicas: RoutedReplica) -> dict[str, Application]:
    names = {replica_.id.application for replica_ in replicas}
    return {
        name: Application(name, "chat", tuple(replica_ for replica_ in replicas if replica_.id.application == name))
        for name in names
    }


def learned(reading: Reading) -> Signals:
    """Return signals after a long time of readings like `reading`."""
    running = reading.running or 1.0
    return Signals(
        reading,
        updated_at=NOW,
        busy_at=NOW,
        busy_seconds=60.0,
        mean_waiting=reading.waiting or 0.0,
        mean_in_flight=reading.in_flight,
        tokens=(60.0, 60.0 * running, 60.0 * (reading.token_rate or 0.0)),
        requests=(60.0, 60.0 * running, 60.0 * (reading.drain_rate or 0.0)),
        most_running=running,
    )


def busy(running: float = 2.0, waiting: float = 0.0, drain_rate: float | None = None, age: float = 0.1) -> Signals:
    return learned(Reading(NOW - age, running, waiting, drain_rate))


def idle(drain_rate: float | None = None) -> Signals:
    return busy(0.0, 0.0, drain_rate)


def loads(signals: Mapping[ReplicaId, Signals]) -> dict[str, Loads]:
    """Return the loads of all applications."""
    found: dict[str, list[tuple[str, int, Signals]]] = {}
    for id_, each in signals.items():
        found.setdefault(id_.application, []).append((id_.name, id_.restarts, each))
    return {application: Loads().with_signals(members) for application, members in found.items()}


def doubt(signals: Signals, now: float, ready: int = 2) -> str | None:
    """Return why the newest reading of one of so many ready replicas cannot be used; None if it can."""
    return signals.doubt(now, stale_seconds(ready), stale_seconds(ready, idle=True))


def weights(decision: Decision) -> dict[str, int]:
    return {candidate.replica.id.name: candidate.weight for candidate in decision.candidates}


def explanations(decision: Decision) -> dict[str, str]:
    return {candidate.replica.id.name: candidate.explanation(NOW) for candidate in decision.candidates}


def converge(inputs: DecisionInput, spec: EndpointSpec = SPEC, steps: int = 60) -> Decision:
    decision = decide(spec, inputs)
    for _ in range(steps):
        decision = decide(spec, structs.replace(inputs, before=decision.comparisons))
    return decision
