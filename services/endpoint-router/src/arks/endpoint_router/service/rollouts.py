"""Rollouts of endpoints: what gateways count of both sides, and the next step. No I/O."""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from arks.contracts.resources import ArksEndpoint, ArksEndpointStatus
from arks.endpoint_router.domain.decision import Decision
from arks.endpoint_router.domain.rollout import Phase, Rollout, Sample, advance, begin
from arks.endpoint_router.domain.translate import rollout_of, rollout_plan
from arks.kit.key import Key

MOST_TIMES = 1024
"""Newest times of each side that are compared: more would show no smaller difference that matters."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One request that a replica answered, or failed to."""

    replica: str
    """host:port."""
    failed: bool
    """The engine's fault: a status of 500 or more, or a broken answer."""
    first_token_seconds: float | None = None
    """Of a stream."""
    inter_token_seconds: float | None = None


@dataclass(slots=True)
class _Count:
    requests: int = 0
    errors: int = 0
    first: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_TIMES))
    inter: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_TIMES))

    def add(self, ended: Ended) -> None:
        self.requests += 1
        self.errors += ended.failed
        if ended.first_token_seconds is not None:
            self.first.append(ended.first_token_seconds)
        if ended.inter_token_seconds is not None:
            self.inter.append(ended.inter_token_seconds)

    @property
    def sample(self) -> Sample:
        return Sample(self.requests, self.errors, tuple(self.first), tuple(self.inter))


@dataclass(slots=True)
class _Step:
    """What was counted since a step began."""

    rollout: Rollout
    canary: _Count = field(default_factory=_Count)
    others: _Count = field(default_factory=_Count)


class Rollouts:
    def __init__(self) -> None:
        self._steps: dict[Key, _Step] = {}
        """Of endpoints whose rollout is progressing."""

    @property
    def any(self) -> bool:
        """Return whether requests need to be counted at all."""
        return bool(self._steps)

    def update(self, key: Key, resource: ArksEndpoint | None) -> None:
        """Count requests of the step in the status; none where nothing progresses."""
        rollout = rollout_of(resource, resource.status) if resource is not None else None
        if rollout is None or rollout.phase is not Phase.PROGRESSING:
            self._steps.pop(key, None)
            return
        known = self._steps.get(key)
        if known is None or (known.rollout.canary, known.rollout.since) != (rollout.canary, rollout.since):
            self._steps[key] = _Step(rollout)

    def add(self, key: Key, ended: Ended, decision: Decision | None) -> None:
        """Count one request at the side whose replica had it. Requests without a replica count at neither."""
        step = self._steps.get(key)
        application = _applications(decision).get(ended.replica) if step is not None else None
        if step is None or application is None:
            return
        (step.canary if application == step.rollout.canary else step.others).add(ended)

    def next(self, key: Key, endpoint: ArksEndpoint, written: ArksEndpointStatus | None, now: float) -> Rollout | None:
        """Return where the rollout of the endpoint is now; None without one.

        `written`: the last status; `now`: seconds since the epoch, of which statuses keep whole ones.
        """
        plan = rollout_plan(endpoint)
        if plan is None:
            return None
        at = math.floor(now)
        before = rollout_of(endpoint, written)
        if before is None:
            return begin(plan, at) if plan.command == "Auto" else advance(plan, begin(plan, at), Sample(), Sample(), at)
        step = self._steps.get(key)
        if step is None or step.rollout.since != before.since:
            return advance(plan, before, Sample(), Sample(), at)
        return advance(plan, before, step.canary.sample, step.others.sample, at)


def _applications(decision: Decision | None) -> Mapping[str, str]:
    """Return the application of each replica's address."""
    candidates = decision.candidates if decision is not None else ()
    return {candidate.replica.address: candidate.replica.id.application for candidate in candidates}
