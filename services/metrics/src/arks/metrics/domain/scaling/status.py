"""The status of an autoscaler, and what it is restored from after a restart."""

from datetime import datetime, timedelta

from arks.contracts.conditions import set_condition
from arks.contracts.resources import (
    ArksAutoscaler,
    ArksAutoscalerStatus,
    Condition,
    ConditionStatus,
    HeldStatus,
    ObjectiveStatus,
)
from arks.metrics.domain.scaling.capacity import Capacity, from_full
from arks.metrics.domain.scaling.decision import START_SECONDS, Decision, Memory
from arks.metrics.domain.scaling.limits import Limit
from arks.metrics.domain.scaling.observed import Observed

READY, LIMITED = "Ready", "Limited"


def status_of(
    autoscaler: ArksAutoscaler,
    decision: Decision,
    memory: Memory,
    seen: Observed,
    now: datetime,
    *,
    limit: Limit | None = None,
    model: str = "",
) -> ArksAutoscalerStatus:
    """The status after a decision. `limit`: what keeps the application from the wanted number; `model`: its public
    name.
    """
    before = autoscaler.status
    wanted = decision.replicas
    changed = before is None or before.wanted_replicas != wanted
    full = memory.capacity.full
    return ArksAutoscalerStatus(
        observed_generation=autoscaler.metadata.generation,
        replicas=seen.ready,
        wanted_replicas=wanted,
        reason=decision.why,
        message=decision.message[:1024],
        last_change_time=now.replace(microsecond=0) if changed or before is None else before.last_change_time,
        capacity_tokens_per_second=None if full is None else round(full),
        start_seconds=round(memory.start_seconds),
        objectives=_objectives(autoscaler, seen),
        held=_held(memory, seen, model, now) if seen.held else None,
        conditions=_conditions(autoscaler, decision, limit, now),
    )


def _held(memory: Memory, seen: Observed, model: str, now: datetime) -> HeldStatus:
    """The start of the first replica is expected until one is ready."""
    since = now - timedelta(seconds=seen.held_seconds)
    expected = None if seen.ready else (since + timedelta(seconds=memory.start_seconds)).replace(microsecond=0)
    return HeldStatus(requests=seen.held, model=model, since=since.replace(microsecond=0), expected_time=expected)


def problem_status(autoscaler: ArksAutoscaler, reason: str, message: str, now: datetime) -> ArksAutoscalerStatus:
    """The status while nothing can be decided: what was wanted last is kept."""
    before = autoscaler.status or ArksAutoscalerStatus()
    conditions = set_condition(
        before.conditions,
        READY,
        False,
        reason,
        message,
        now=now,
        observed_generation=autoscaler.metadata.generation,
    )
    return before.model_copy(
        update={
            "observed_generation": autoscaler.metadata.generation,
            "reason": reason,
            "message": message,
            "conditions": conditions,
        }
    )


def restored(status: ArksAutoscalerStatus | None, start_seconds: float | None) -> Memory:
    """What an earlier run measured."""
    if status is None:
        return Memory(start_seconds=start_seconds or START_SECONDS)
    full = status.capacity_tokens_per_second
    seconds = start_seconds or status.start_seconds or START_SECONDS
    return Memory(capacity=from_full(float(full)) if full else Capacity(), start_seconds=float(seconds))


def same_but_figures(
    before: ArksAutoscalerStatus | None, generation: int | None, decision: Decision, seen: Observed, limit: Limit | None
) -> bool:
    """Whether the next status would differ from the last in measured figures only, which are written less often.

    It is decided without making that status, which costs a fifth of a decision.
    """
    if before is None:
        return False
    limit = _limit_of(decision, limit)
    expected = {READY: (ConditionStatus.TRUE, decision.why), LIMITED: _verdict(limit)}
    found = {item.type: (item.status, item.reason) for item in before.conditions if item.type in expected}
    now = generation, decision.replicas, seen.ready, decision.why, seen.held
    return found == expected and now == (
        before.observed_generation,
        before.wanted_replicas,
        before.replicas,
        before.reason,
        0 if before.held is None else before.held.requests,
    )


def _limit_of(decision: Decision, limit: Limit | None) -> Limit | None:
    return Limit(decision.why, decision.limited) if limit is None and decision.limited else limit


def _verdict(limit: Limit | None) -> tuple[ConditionStatus, str]:
    return (ConditionStatus.FALSE, "WithinBounds") if limit is None else (ConditionStatus.TRUE, limit.reason)


def _objectives(autoscaler: ArksAutoscaler, seen: Observed) -> list[ObjectiveStatus]:
    current = {
        "timeToFirstTokenMilliseconds": _scaled(seen.first_token_seconds, 1000),
        "interTokenLatencyMilliseconds": _scaled(seen.inter_token_seconds, 1000),
        "waitingRequests": _scaled(seen.waiting, 1 / seen.ready) if seen.ready else None,
        "slotUsePercent": _scaled(seen.in_flight, 100 / seen.slots) if seen.slots else None,
        "kvCacheUsePercent": _scaled(seen.kv_cache_ratio, 100),
        "tokensPerSecond": _scaled(seen.tokens_per_second, 1 / seen.ready) if seen.ready else None,
    }
    targets = autoscaler.spec.objectives.model_dump(by_alias=True, exclude_none=True)
    return [
        ObjectiveStatus(name=name, target=target, current=None if seen.doubt else current[name])
        for name, target in targets.items()
        if name in current
    ]


def _scaled(value: float | None, by: float) -> int | None:
    return None if value is None else round(value * by)


def _conditions(autoscaler: ArksAutoscaler, decision: Decision, limit: Limit | None, now: datetime) -> list[Condition]:
    generation = autoscaler.metadata.generation
    before = [] if autoscaler.status is None else autoscaler.status.conditions
    conditions = set_condition(
        before, READY, True, decision.why, decision.message, now=now, observed_generation=generation
    )
    limit = _limit_of(decision, limit)
    return set_condition(
        conditions,
        LIMITED,
        *_verdict(limit),
        "nothing limits the number of replicas" if limit is None else limit.message,
        now=now,
        observed_generation=generation,
    )
