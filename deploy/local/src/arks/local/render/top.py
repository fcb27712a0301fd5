"""`arks top`: the load of each replica, from facts of app-deployer and endpoint-router and from load reports."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from arks.contracts.facts import replica_facts, weights_by_replica
from arks.events.v1.facts_pb2 import EndpointFact, ReplicasFact
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad
from arks.local.render.plain import camel_case
from arks.local.render.quantities import duration, number, percent
from arks.local.render.table import UNLIMITED, fitting_table, shorten

_COUNTED_AT_END = frozenset({"llamacpp", "sglang"})
"""Engines whose count of generated tokens rises when a request ends: until then 0 a second is no speed of theirs."""
STALE_SECONDS = 5.0
"""An older measurement is not shown: it no longer describes the replica."""


@dataclass(frozen=True, slots=True)
class Row:
    """One replica. None: unknown, which is not the same as 0."""

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
    """Age of the measurement."""
    problem: str = ""


def rows(
    replicas: Iterable[ReplicasFact],
    endpoints: Iterable[EndpointFact],
    loads: Mapping[tuple[str, str], LoadReport],
    now: datetime,
) -> list[Row]:
    """A row per replica, by name. `loads`: by namespace and application."""
    weights = weights_by_replica(endpoints)
    found: list[Row] = []
    for fact in sorted(replicas, key=lambda fact: (fact.namespace, fact.application)):
        report = loads.get((fact.namespace, fact.application), LoadReport())
        by_name = {load.name: load for load in report.replicas}
        for replica in sorted(replica_facts(fact), key=lambda replica: replica.name):
            weight = weights.get((fact.namespace, fact.application, replica.name))
            row = Row(fact.namespace, fact.application, replica.name, replica.state.capitalize(), weight=weight)
            load = by_name.get(replica.name)
            found.append(row if load is None else _with_load(row, load, now, fact.runtime))
    return found


def _with_load(row: Row, load: ReplicaLoad, now: datetime, runtime: str) -> Row:
    age_seconds = (now - load.measured_at.ToDatetime(UTC)).total_seconds()
    if age_seconds > STALE_SECONDS:
        return replace(row, age_seconds=age_seconds, problem=f"silent {duration(age_seconds)}")
    return replace(
        row,
        running=_optional(load, "running_requests"),
        waiting=_optional(load, "waiting_requests"),
        kv_cache_ratio=_optional(load, "kv_cache_usage_ratio"),
        prompt_tokens_per_second=_optional(load, "prompt_tokens_per_second"),
        generation_tokens_per_second=_generated(load, runtime),
        age_seconds=max(0.0, age_seconds),
        problem=load.problem,
    )


def _generated(load: ReplicaLoad, runtime: str) -> float | None:
    speed = _optional(load, "generation_tokens_per_second")
    unknown = speed == 0 and load.running_requests > 0 and runtime in _COUNTED_AT_END
    return None if unknown else speed


def _optional(load: ReplicaLoad, field: str) -> float | None:
    return float(getattr(load, field)) if load.HasField(field) else None


def as_data(found: Sequence[Row]) -> list[Mapping[str, Any]]:
    return [camel_case(asdict(row)) for row in found]


def as_text(found: Sequence[Row], width: int = UNLIMITED) -> str:
    """A table that fits 80 columns with names of usual length. IN/S, OUT/S: prompt and generated tokens per second."""
    namespaces = len({row.namespace for row in found}) > 1
    if not found:
        return (
            "No replicas. Apply an ArksApplication, or see why an existing one has none: `arks get applications -A`\n"
        )
    headers = ("Replica", "State", "Run", "Wait", "KV", "In/s", "Out/s", "Weight", "Note")
    return fitting_table(headers, [cells(row, namespaces) for row in found], width=width, notes=True)


def cells(row: Row, namespaces: bool, name_width: int = 30) -> tuple[str, ...]:
    """A replica as text: name, state, running, waiting, KV cache, in, out, weight, note."""
    return (
        shorten(f"{row.namespace}/{row.replica}" if namespaces else row.replica, name_width),
        row.state,
        number(row.running),
        number(row.waiting),
        percent(row.kv_cache_ratio),
        number(row.prompt_tokens_per_second),
        number(row.generation_tokens_per_second),
        number(row.weight),
        shorten(row.problem, 40),
    )
