"""Replicas that an application shall have, and why."""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from arks.metrics.domain.scaling import capacity as capacities
from arks.metrics.domain.scaling import demand as demands
from arks.metrics.domain.scaling.capacity import Capacity
from arks.metrics.domain.scaling.demand import Demand, History
from arks.metrics.domain.scaling.observed import Observed
from arks.metrics.domain.scaling.pace import Paces, paced
from arks.metrics.domain.scaling.policy import Policy
from arks.metrics.domain.scaling.schedule import Bounds

SETTLE_SECONDS = 60.0
"""After a change of the number of replicas, until figures are of the new number."""
START_SECONDS = 60.0
"""Assumed until a start was measured."""
_REMOVE_BELOW = 0.9
"""A replica is removed only if the others would stay below this part of their capacity, so that a number at the limit
does not swing."""
_MET = 0.9
"""Of a target: below it there is room."""


class Why(StrEnum):
    """Reasons, as in conditions."""

    LOAD = "Load"
    OBJECTIVE_MISSED = "ObjectiveMissed"
    STEADY = "Steady"
    DOUBT = "SignalsDoubtful"
    STARTING = "ReplicasStarting"
    IDLE = "Idle"
    WAKE = "RequestsWait"
    MINIMUM = "AtMinimum"
    MAXIMUM = "AtMaximum"


@dataclass(frozen=True, slots=True)
class Memory:
    """What a decision needs of those before it."""

    history: History = field(default_factory=History)
    capacity: Capacity = field(default_factory=Capacity)
    paces: Paces = field(default_factory=Paces)
    start_seconds: float = START_SECONDS
    raised_at: float = -math.inf
    """When an objective that was missed last added a replica."""
    ready: int = 0
    settled_at: float = -math.inf
    """Since when no replica became ready or went away."""
    met_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class Need:
    """Replicas by one objective."""

    replicas: int
    why: Why
    text: str
    keep: int
    """Fewer than this are not enough, with room."""


@dataclass(frozen=True, slots=True)
class Decision:
    replicas: int
    why: Why
    message: str
    limited: str = ""
    """What keeps the number below what is needed; empty if nothing does."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one decision is about."""

    policy: Policy
    bounds: Bounds
    seen: Observed
    current: int


def decide(policy: Policy, bounds: Bounds, memory: Memory, seen: Observed, current: int) -> tuple[Memory, Decision]:
    """`current`: replicas that were wanted last. The largest need wins; doubtful signals never remove replicas."""
    if seen.doubt or (seen.ready and seen.in_flight is None):
        return _unsure(bounds, memory, seen, current)
    memory, plan = replace(memory, history=demands.observe(memory.history, seen)), _Plan(policy, bounds, seen, current)
    if (asleep := _at_zero(policy, bounds, memory, seen, current)) is not None:
        return _bounded(plan, memory, asleep)
    expected = demands.demand(memory.history, seen, memory.start_seconds)
    memory = _measure(policy, memory, seen)
    by_load = None if expected is None else _by_capacity(policy, memory, expected)
    found = (by_load, _by_slots(policy, seen), _by_miss(policy, memory, seen, current))
    needs = [need for need in found if need is not None]
    memory = _feedback(policy, memory, seen, by_load, current)
    top = max(needs, key=lambda need: need.replicas, default=Need(current, Why.STEADY, "nothing measured yet", current))
    if top.why is Why.OBJECTIVE_MISSED and top.replicas > current:
        memory = replace(memory, raised_at=seen.at)
    keep = max((need.keep for need in needs), default=current)
    return _paced(plan, memory, top, max(keep, top.replicas))


def _unsure(bounds: Bounds, memory: Memory, seen: Observed, current: int) -> tuple[Memory, Decision]:
    reason = seen.doubt or "no engine reports its requests"
    memory = replace(
        memory,
        history=demands.forget_rates(memory.history),
        paces=memory.paces.restarted(),
        settled_at=seen.at,
    )
    wanted = max(bounds.minimum, current, 1 if seen.held else 0)
    return memory, Decision(wanted, Why.DOUBT, f"keeps {wanted}: {reason}")


def _at_zero(policy: Policy, bounds: Bounds, memory: Memory, seen: Observed, current: int) -> Decision | None:
    """Decisions of the step between none and one."""
    busy_at = memory.history.busy_at
    idle_seconds = math.inf if busy_at is None else seen.at - busy_at
    if current == 0:
        if memory.history.active:
            return Decision(1, Why.WAKE, f"{_requests(seen.held)} for the first replica")
        return Decision(0, Why.IDLE, "no requests")
    if bounds.minimum == 0 and not seen.held and idle_seconds >= policy.idle_seconds and not seen.starting:
        return Decision(0, Why.IDLE, f"no requests for {idle_seconds:.0f} s")
    if seen.ready == 0:
        waits = f"{_requests(seen.held)} for" if seen.held else "waits for"
        return Decision(current, Why.STARTING, f"{waits} the first replica")
    return None


def _measure(policy: Policy, memory: Memory, seen: Observed) -> Memory:
    """Measure what a replica does; what was held counts once the number of replicas has not changed for a while."""
    settled = memory.settled_at if seen.ready == memory.ready and not seen.starting else seen.at
    found = capacities.with_speed(memory.capacity, demands.slot_speed(memory.history))
    reserved = seen.slots / seen.ready if seen.slots and seen.slots_reserved else None
    found = capacities.with_slots(found, reserved, seen.running_at_a_queue)
    rate = demands.throughput(memory.history, SETTLE_SECONDS)
    if rate is not None and seen.at - settled >= SETTLE_SECONDS and missed_by(policy, seen) <= _MET:
        found = capacities.with_held(found, rate / seen.ready)
    return replace(memory, capacity=found, ready=seen.ready, settled_at=settled)


def missed_by(policy: Policy, seen: Observed) -> float:
    """The largest measured value over its target; above 1 an objective is missed. 0 while nothing is measured."""
    given = policy.objectives
    waiting = None if seen.waiting is None or not seen.ready else seen.waiting / seen.ready
    pairs = (
        (seen.first_token_seconds, given.first_token_seconds),
        (seen.inter_token_seconds, given.inter_token_seconds),
        (waiting, given.waiting_requests),
        (seen.kv_cache_ratio, given.kv_cache_ratio),
    )
    return max((value / target for value, target in pairs if value is not None and target is not None), default=0.0)


def _by_capacity(policy: Policy, memory: Memory, expected: Demand) -> Need | None:
    if (given := policy.objectives.tokens_per_second) is not None:
        exact: float | None = expected.ahead / given
        close, text = expected.ahead / given / _REMOVE_BELOW, f"{given:.0f} a replica"
    else:
        exact = capacities.replicas_for(memory.capacity, expected.ahead)
        close = capacities.replicas_for(memory.capacity, expected.ahead / _REMOVE_BELOW) or 0.0
        text = f"{memory.capacity.full or 0:.0f} a full replica"
    if exact is None:
        return None
    return Need(_ceil(exact), Why.LOAD, f"{expected.ahead:.0f} tokens/s expected, {text}", _ceil(close))


def _by_slots(policy: Policy, seen: Observed) -> Need | None:
    target = policy.objectives.slot_use_ratio
    if target is None or not seen.slots or seen.in_flight is None:
        return None
    room = seen.slots / seen.ready * target
    text = f"{seen.in_flight:.0f} requests in flight, {room:.1f} a replica"
    return Need(_ceil(seen.in_flight / room), Why.LOAD, text, _ceil(seen.in_flight / room / _REMOVE_BELOW))


def _by_miss(policy: Policy, memory: Memory, seen: Observed, current: int) -> Need | None:
    """More than there are while an objective is missed, and no fewer while it is nearly missed."""
    share = missed_by(policy, seen)
    if share <= _MET:
        return None
    text = f"{share:.0%} of a target"
    if share > 1.0 and _may_raise(memory, seen, current):
        return Need(current + max(1, current // 10), Why.OBJECTIVE_MISSED, text, current)
    return Need(min(current, max(seen.ready, 1)), Why.STEADY, text, current)


def _may_raise(memory: Memory, seen: Observed, current: int) -> bool:
    """Whether the last change has had time to show."""
    waited = seen.at - memory.raised_at >= memory.start_seconds + SETTLE_SECONDS
    return waited and not seen.starting and seen.ready >= current and seen.at - memory.settled_at >= SETTLE_SECONDS


def _feedback(policy: Policy, memory: Memory, seen: Observed, by_load: Need | None, current: int) -> Memory:
    """Adapt the room for chance, if what was missed or held was not the fault of an unforeseen load."""
    if (
        by_load is None
        or policy.objectives.tokens_per_second is not None
        or seen.at - memory.settled_at < SETTLE_SECONDS
    ):
        return memory
    share = missed_by(policy, seen)
    if share > 1.0 and by_load.replicas <= current and _may_raise(memory, seen, current):
        return replace(memory, capacity=capacities.missed(memory.capacity))
    if share <= _MET and by_load.keep >= current and seen.at - memory.met_at >= SETTLE_SECONDS:
        return replace(memory, capacity=capacities.met(memory.capacity), met_at=seen.at)
    return memory


def _paced(plan: _Plan, memory: Memory, top: Need, keep: int) -> tuple[Memory, Decision]:
    current = plan.current
    paces, wanted = paced(memory.paces, plan.policy, up=top.replicas, down=keep, current=current, at=plan.seen.at)
    memory = replace(memory, paces=paces)
    if plan.bounds.minimum == 0 and wanted < 1:
        wanted = 1  # the last replica is removed by idleness only
    if wanted == current:
        decision = Decision(wanted, Why.STEADY, top.text)
    else:
        why = top.why if wanted > current else Why.LOAD
        decision = Decision(wanted, why, f"from {current} to {wanted}: {top.text}")
    return _bounded(plan, memory, decision, needed=top.replicas)


def _bounded(plan: _Plan, memory: Memory, decision: Decision, needed: int = 0) -> tuple[Memory, Decision]:
    bounds = plan.bounds
    because = f" (schedule {bounds.because})" if bounds.because else ""
    needed = max(decision.replicas, needed)
    if decision.replicas < bounds.minimum:
        decision = Decision(bounds.minimum, Why.MINIMUM, f"minimum {bounds.minimum}{because}; {decision.message}")
    elif needed > bounds.maximum:
        text = f"maximum {bounds.maximum}{because}, {needed} needed; {decision.message}"
        decision = Decision(min(bounds.maximum, max(decision.replicas, bounds.minimum)), Why.MAXIMUM, text, text)
    if decision.replicas != plan.current:
        memory = replace(memory, paces=memory.paces.changed(plan.seen.at, decision.replicas - plan.current))
    return memory, decision


def _requests(held: int) -> str:
    return f"{held} requests wait" if held > 1 else "a request waits"


def _ceil(value: float) -> int:
    return max(0, math.ceil(value - 1e-6))
