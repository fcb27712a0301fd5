"""When a rollout goes on, ends or is taken back. Pure.

The canary is compared with the other applications of its endpoint over the same time, so whatever strikes both (long
prompts, a busy network) decides nothing. A difference counts if chance explains it in one of a hundred comparisons at
most: server errors by the test of two proportions, times by the test of H. Mann and D. Whitney ("On a test of whether
one of two random variables is stochastically larger than the other", 1947), which outliers do not move. A step needs
`minimum_requests` on both sides before it is judged, in either direction.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

CHANCE = 2.33
"""Standard deviations of the normal distribution that one of a hundred exceeds."""
FEWEST_TIMES = 20
"""Streams on each side that a comparison of times needs."""


class Phase(StrEnum):
    PROGRESSING = "Progressing"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the user wants."""

    canary: str
    steps: tuple[int, ...]
    step_seconds: float
    minimum_requests: int
    error_points: float
    slower_percent: float
    command: str = "Auto"


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where a rollout is."""

    canary: str
    phase: Phase
    step: int
    percent: int
    since: float
    """Seconds since the epoch."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests of one side that ended in a step."""

    requests: int = 0
    errors: int = 0
    first_token_seconds: Sequence[float] = ()
    inter_token_seconds: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    worse: bool
    enough: bool
    message: str


def begin(plan: Plan, now: float) -> Rollout:
    return Rollout(plan.canary, Phase.PROGRESSING, 0, plan.steps[0], now, "the first step begins")


def advance(plan: Plan, before: Rollout, canary: Sample, others: Sample, now: float) -> Rollout:
    """Return where the rollout is now; `before`, perhaps with another message, if nothing changed."""
    if plan.command == "Abort":
        return before if before.phase is Phase.ROLLED_BACK else _rolled_back(before, now, "aborted by its command")
    if plan.command == "Promote":
        return before if before.phase is Phase.PROMOTED else _promoted(before, now, "promoted by its command")
    if before.phase is not Phase.PROGRESSING:
        return before
    judgement = judge(plan, canary, others)
    if judgement.worse:
        return _rolled_back(before, now, judgement.message)
    if judgement.enough and now - before.since >= plan.step_seconds:
        return _next_step(plan, before, now, judgement.message)
    return replace(before, message=judgement.message)


def _next_step(plan: Plan, before: Rollout, now: float, message: str) -> Rollout:
    number = before.step + 1
    if number >= len(plan.steps):
        return _promoted(before, now, message)
    return Rollout(plan.canary, Phase.PROGRESSING, number, plan.steps[number], now, message)


def judge(plan: Plan, canary: Sample, others: Sample) -> Judgement:
    """Compare both sides. The message has the numbers, for users."""
    fewest = min(canary.requests, others.requests)
    if fewest < plan.minimum_requests:
        counts = f"{canary.requests} requests of the canary and {others.requests} of the others have ended"
        return Judgement(worse=False, enough=False, message=f"{counts}; each needs {plan.minimum_requests}")
    rates = f"{_rate(canary):.1%} server errors against {_rate(others):.1%}"
    if _errs_more(canary, others, plan.error_points / 100):
        return Judgement(worse=True, enough=True, message=rates)
    parts = [rates]
    for name, mine, theirs in (
        ("time to first token", canary.first_token_seconds, others.first_token_seconds),
        ("time between tokens", canary.inter_token_seconds, others.inter_token_seconds),
    ):
        if min(len(mine), len(theirs)) < FEWEST_TIMES:
            continue
        text = f"{name} {1e3 * _median(mine):.0f} ms against {1e3 * _median(theirs):.0f} ms (median)"
        if is_slower(mine, theirs, 1 + plan.slower_percent / 100):
            return Judgement(worse=True, enough=True, message=text)
        parts.append(text)
    return Judgement(worse=False, enough=True, message=", ".join(parts))


def is_slower(mine: Sequence[float], theirs: Sequence[float], factor: float) -> bool:
    """Return whether `mine` are longer than `theirs` by more than the factor, beyond chance."""
    ordered, many, few = sorted(factor * value for value in theirs), len(theirs), len(mine)
    longer = sum((bisect_left(ordered, value) + bisect_right(ordered, value)) / 2 for value in mine)
    expected, deviation = few * many / 2, math.sqrt(few * many * (few + many + 1) / 12)
    return longer > expected + CHANCE * deviation


def _errs_more(canary: Sample, others: Sample, points: float) -> bool:
    pooled = (canary.errors + others.errors) / (canary.requests + others.requests)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / canary.requests + 1 / others.requests))
    return _rate(canary) - _rate(others) > points + CHANCE * deviation


def _rate(sample: Sample) -> float:
    return sample.errors / sample.requests


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _promoted(before: Rollout, now: float, message: str) -> Rollout:
    return replace(before, phase=Phase.PROMOTED, percent=100, since=now, message=message)


def _rolled_back(before: Rollout, now: float, message: str) -> Rollout:
    return replace(before, phase=Phase.ROLLED_BACK, percent=0, since=now, message=message)
