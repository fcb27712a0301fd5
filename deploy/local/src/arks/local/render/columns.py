"""The columns of `arks get`. Pure. The printer columns of the CRDs have the same names; a test compares them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from arks.contracts.quantities import human_bytes
from arks.local.render.health import endpoints_of, public_name, why
from arks.local.render.kinds import APPLICATION, AUTOSCALER, DISAGGREGATED, ENDPOINT, MODEL, QUOTA, SECRET, TOKEN, Kind
from arks.local.render.plain import Object, condition, lookup, parse_time, spec_of, status_of
from arks.local.render.quantities import age, compact, duration, next_month, percent

Cell = Callable[[Object, datetime], str]


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    cell: Cell
    wide: bool = False
    """Shown with `-o wide` only."""


def columns_of(kind: Kind) -> Sequence[Column]:
    return _COLUMNS[kind.name]


def _path(json_path: str) -> Cell:
    def cell(resource: Object, _: datetime) -> str:
        found = lookup(resource, json_path)
        return "" if found is None else str(found)

    return cell


def _age(resource: Object, now: datetime) -> str:
    return age(parse_time(lookup(resource, ".metadata.creationTimestamp")), now)


def _why(resource: Object, _: datetime) -> str:
    return why(resource)


def _ready(resource: Object, _: datetime) -> str:
    return str(condition(resource, "Ready").get("status") or "Unknown")


def _reason(resource: Object, _: datetime) -> str:
    return str(condition(resource, "Ready").get("reason") or "")


def _size(resource: Object, _: datetime) -> str:
    """Of the files; while they are downloaded how much of it is there."""
    status = status_of(resource)
    progress = status.get("progress") or {}
    if status.get("phase") == "ModelLoading" and "percent" in progress:
        return f"{progress['percent']:.0f}% of {human_bytes(progress.get('totalBytes', 0))}"
    size = status.get("sizeBytes")
    return "" if size is None else human_bytes(size)


def _replicas(resource: Object, _: datetime) -> str:
    return f"{status_of(resource).get('readyReplicas', 0)}/{spec_of(resource).get('replicas', 1)}"


def _runtime(resource: Object, _: datetime) -> str:
    return str(spec_of(resource).get("runtime") or "vllm")


def _routed(resource: Object, _: datetime) -> str:
    return str(status_of(resource).get("readyReplicas", 0))


def _served_name(resource: Object, _: datetime) -> str:
    return public_name(resource)


def _applications(resource: Object, _: datetime) -> str:
    status = status_of(resource)
    names = [*(weight["application"] for weight in status.get("weights", [])), *_route_names(status)]
    return ",".join(dict.fromkeys(names)) or "<none>"


def _route_names(status: Mapping[str, Any]) -> list[str]:
    return [] if status.get("weights") else [str(route["name"]) for route in status.get("routes", [])]


def _default_weight(resource: Object, _: datetime) -> str:
    return str(spec_of(resource).get("defaultWeight", 1))


def _endpoints(resource: Object, _: datetime) -> str:
    return _short_list(endpoints_of(resource))


def _limits(resource: Object, _: datetime) -> str:
    limits = [
        f"{limit['type']} {compact(limit['value'])}"
        for qos in spec_of(resource).get("qos", [])
        for limit in qos.get("rateLimits", [])
    ]
    return _short_list(list(dict.fromkeys(limits)), separator=", ", most=3)


def _quota(resource: Object, _: datetime) -> str:
    names = [(qos.get("quota") or {}).get("name") for qos in spec_of(resource).get("qos", [])]
    return _short_list(list(dict.fromkeys(name for name in names if name)))


def _expires(resource: Object, now: datetime) -> str:
    if spec_of(resource).get("disabled"):
        return "revoked"
    ends = parse_time(spec_of(resource).get("expiresAt"))
    if ends is None:
        return "never"
    remaining = (ends - now).total_seconds()
    return "expired" if remaining <= 0 else f"in {duration(remaining)}"


def _short_list(names: Sequence[str], *, separator: str = ",", most: int = 2) -> str:
    if not names:
        return "<none>"
    more = f"{separator}+{len(names) - most}" if len(names) > most else ""
    return separator.join(names[:most]) + more


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit of a quota and what was used of it, in tokens."""

    type: str
    limit: int
    used: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    @property
    def remaining_ratio(self) -> float:
        return self.remaining / self.limit if self.limit else 0.0


def budgets(quota: Object) -> list[Budget]:
    """The limits of a quota, the tightest first."""
    used = {item["type"]: int(item.get("used", 0)) for item in status_of(quota).get("quotaStatus", [])}
    found = [
        Budget(kind, int(limit["value"]), used.get(kind, 0))
        for limit in spec_of(quota).get("quotas", [])
        if (kind := str(limit.get("type") or limit.get("name")))
    ]
    return sorted(found, key=lambda budget: budget.remaining_ratio)


def resets(quota: Object, now: datetime) -> datetime | None:
    """When usage returns to 0; None: never. Days and months are of UTC."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match spec_of(quota).get("period", "lifetime"):
        case "day":
            return midnight + timedelta(days=1)
        case "month":
            return next_month(midnight)
    return None


def _of_budget(cell: Callable[[Budget], str]) -> Cell:
    """A cell about the tightest limit."""

    def value(resource: Object, _: datetime) -> str:
        found = budgets(resource)
        return cell(found[0]) if found else ""

    return value


def _bounds(resource: Object, _: datetime) -> str:
    spec = spec_of(resource)
    return f"{spec.get('minReplicas', 1)} to {spec.get('maxReplicas', '?')}"


def _mode(resource: Object, _: datetime) -> str:
    return str(spec_of(resource).get("mode", "Auto"))


def _period(resource: Object, _: datetime) -> str:
    return str(spec_of(resource).get("period", "lifetime"))


def _resets(resource: Object, now: datetime) -> str:
    at = resets(resource, now)
    return "never" if at is None else f"in {duration((at - now).total_seconds())}"


_AGE, _WHY = Column("Age", _age), Column("Why", _why)
_READY_WIDE = Column("Ready", _ready, wide=True)
_REASON = Column("Reason", _reason, wide=True)
_COLUMNS: Mapping[str, Sequence[Column]] = {
    MODEL.name: (
        Column("Phase", _path(".status.phase")),
        Column("Size", _size),
        Column("Model", _path(".spec.model")),
        _AGE,
        Column("Path", _path(".status.path"), wide=True),
        _READY_WIDE,
        _REASON,
        _WHY,
    ),
    APPLICATION.name: (
        Column("Phase", _path(".status.phase")),
        Column("Ready", _replicas),
        Column("Model", _path(".spec.model.name")),
        Column("Runtime", _runtime),
        _AGE,
        _REASON,
        _WHY,
    ),
    DISAGGREGATED.name: (
        Column("Phase", _path(".status.phase")),
        Column("Router Ready", _path(".status.router.readyReplicas")),
        Column("Prefill Ready", _path(".status.prefill.readyReplicas")),
        Column("Decode Ready", _path(".status.decode.readyReplicas")),
        Column("Model", _path(".spec.model.name")),
        _AGE,
        _READY_WIDE,
        _REASON,
        _WHY,
    ),
    AUTOSCALER.name: (
        Column("Application", _path(".spec.target.name")),
        Column("Replicas", _path(".status.replicas")),
        Column("Wanted", _path(".status.wantedReplicas")),
        Column("Bounds", _bounds),
        Column("Reason", _path(".status.reason")),
        Column("Ready", _ready),
        _AGE,
        Column("Stage", _path(".spec.target.stage"), wide=True),
        Column("Mode", _mode, wide=True),
        Column("Why", _path(".status.message")),
    ),
    ENDPOINT.name: (
        Column("Ready", _ready),
        Column("Replicas", _routed),
        Column("Applications", _applications),
        _AGE,
        Column("Default Weight", _default_weight, wide=True),
        Column("Weights", _path(".status.signalSource"), wide=True),
        Column("Model", _served_name, wide=True),
        _REASON,
        _WHY,
    ),
    TOKEN.name: (
        Column("Ready", _ready),
        Column("Endpoints", _endpoints),
        Column("Limits", _limits),
        Column("Quota", _quota),
        Column("Expires", _expires),
        _AGE,
        _REASON,
        _WHY,
    ),
    QUOTA.name: (
        Column("Used", _of_budget(lambda budget: compact(budget.used))),
        Column("Limit", _of_budget(lambda budget: compact(budget.limit))),
        Column("Left", _of_budget(lambda budget: percent(budget.remaining_ratio))),
        Column("Type", _of_budget(lambda budget: budget.type), wide=True),
        Column("Period", _period),
        Column("Resets", _resets),
        _AGE,
        _READY_WIDE,
        _REASON,
        _WHY,
    ),
    SECRET.name: (Column("Type", _path(".type")), Column("Keys", _path(".keys"))),
}
