"""`arks top`: how busy each replica is, from what app-deployer, metrics and endpoint-router say on the bus."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from arks.events.v1.facts_pb2 import EndpointFact, Replica, ReplicasFact, ReplicaState
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.local.render.quantities import duration, number, percent
from arks.local.render.table import shorten, table

STALE_SECONDS = 5.0
"""A reading older than that says nothing about now."""


@dataclass(frozen=True, slots=True)
class Row:
    """One replica. None: not known, which is not the same as 0."""

    namespace: str
    application: str
    replica: str
    state: str
    running: float | None = None
    waiting: float | None = None
    kv_cache_ratio: float | None = None
    prompt_tokens_per_second: float | None = None
    generation_tokens_per_second: float | None = None
    weight: int | None = None
    age_seconds: float | None = None
    """Of the reading."""
    problem: str = ""


def rows(
    replicas: Iterable[ReplicasFact],
    endpoints: Iterable[EndpointFact],
    loads: Mapping[tuple[str, str], LoadReport],
    now: datetime,
) -> list[Row]:
    """`loads` by namespace and application."""
    weights = {
        (fact.namespace, routed.application, routed.name): routed.weight
        for fact in endpoints
        for routed in fact.replicas
    }
    found: list[Row] = []
    for fact in sorted(replicas, key=lambda fact: (fact.namespace, fact.application)):
        report = loads.get((fact.namespace, fact.application), LoadReport())
        readings = {load.name: load for load in report.replicas}
        found += [
            _row(fact, replica, readings.get(replica.name), weights, now)
            for replica in sorted(fact.replicas, key=lambda replica: replica.name)
        ]
    return found


def _row(
    fact: ReplicasFact,
    replica: Replica,
    load: ReplicaLoad | None,
    weights: Mapping[tuple[str, str, str], int],
    now: datetime,
) -> Row:
    weight = weights.get((fact.namespace, fact.application, replica.name))
    state = ReplicaState.Name(replica.state).removeprefix("REPLICA_STATE_").capitalize()
    row = Row(fact.namespace, fact.application, replica.name, state, weight=weight)
    if load is None:
        return row
    age_seconds = (now - load.measured_at.ToDatetime(UTC)).total_seconds()
    if age_seconds > STALE_SECONDS:
        return Row(
            fact.namespace,
            fact.application,
            replica.name,
            state,
            weight=weight,
            age_seconds=age_seconds,
            problem=f"silent {duration(age_seconds)}",
        )
    return Row(
        fact.namespace,
        fact.application,
        replica.name,
        state,
        running=_optional(load, "running_requests"),
        waiting=_optional(load, "waiting_requests"),
        kv_cache_ratio=_optional(load, "kv_cache_usage_ratio"),
        prompt_tokens_per_second=_optional(load, "prompt_tokens_per_second"),
        generation_tokens_per_second=_optional(load, "generation_tokens_per_second"),
        weight=weight,
        age_seconds=max(0.0, age_seconds),
        problem=load.problem,
    )


def _optional(load: ReplicaLoad, field: str) -> float | None:
    return float(getattr(load, field)) if load.HasField(field) else None


def as_data(found: Sequence[Row]) -> list[Mapping[str, Any]]:
    return [asdict(row) for row in found]


def as_text(found: Sequence[Row]) -> str:
    """Fits 80 columns with names of usual length. IN/S and OUT/S: prompt and generated tokens a second."""
    namespaces = len({row.namespace for row in found}) > 1
    if not found:
        return "No replicas. Apply an ArksApplication, or see why there is none: arks get applications -A\n"
    headers = ("Replica", "State", "Run", "Wait", "KV", "In/s", "Out/s", "Weight", "Note")
    return table(headers, [_cells(row, namespaces) for row in found])


def _cells(row: Row, namespaces: bool) -> tuple[str, ...]:
    return (
        shorten(f"{row.namespace}/{row.replica}" if namespaces else row.replica, 30),
        row.state,
        number(row.running),
        number(row.waiting),
        percent(row.kv_cache_ratio),
        number(row.prompt_tokens_per_second),
        number(row.generation_tokens_per_second),
        number(row.weight),
        shorten(row.problem, 40),
    )
