"""Reconciles ArksAutoscalers every few seconds: observe, decide, write the fact, the status and an event."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from arks.contracts.resources import ArksAutoscaler, ArksAutoscalerStatus
from arks.events.v1.facts_pb2 import ScalingFact
from arks.kit.clock import Clock
from arks.kit.errors import ArksError
from arks.kit.home import Resources
from arks.kit.key import Key, key_of
from arks.kit.reconcile import Requeue
from arks.kit.resource_events import ResourceEvents
from arks.kit.status import StatusWriter
from arks.metrics.domain.scaling import schedule
from arks.metrics.domain.scaling.decision import Decision, Memory, decide
from arks.metrics.domain.scaling.limits import Limit
from arks.metrics.domain.scaling.observed import Observed
from arks.metrics.domain.scaling.parts import target_of
from arks.metrics.domain.scaling.pod_autoscaler import scalable
from arks.metrics.domain.scaling.policy import Policy
from arks.metrics.domain.scaling.schedule import Bounds, bounds_at
from arks.metrics.domain.scaling.status import problem_status, restored, same_but_figures, status_of
from arks.metrics.service.scaling.applications import Applications
from arks.metrics.service.scaling.targets import Targets

DECISIONS_PER_SECOND = 80.0
"""Of all autoscalers together: a thousand of them decide each 12.5 s, and cost less than 5 % of a core."""
_OTHER = "OtherAutoscaler"
FIGURES_SECONDS, FIGURES_PER_SECOND = 60.0, 8.0
"""Between two statuses of an autoscaler that differ in figures only, and how many of all are written for that a second:
a write, and the change that comes back from it, cost as much as several decisions."""


def figures_seconds(autoscalers: int) -> float:
    """Between two statuses of one of so many that differ in figures only."""
    return max(FIGURES_SECONDS, autoscalers / FIGURES_PER_SECOND)


class ScalingFacts(Protocol):
    def get(self, key: Key) -> ScalingFact | None: ...
    def put(self, key: Key, fact: ScalingFact) -> None: ...
    def remove(self, key: Key) -> None: ...
    def keep(self, key: Key) -> None: ...


class PodAutoscalers(Protocol):
    """HorizontalPodAutoscalers, through which wanted numbers are carried out where they are used."""

    async def carry_out(self, autoscaler: ArksAutoscaler) -> Limit | None:
        """Returns why the application's does not act. Raises ArksError."""

    async def remove(self, key: Key) -> None:
        """Raises ArksError."""


@dataclass(slots=True)
class _Record:
    """What is kept of an autoscaler between two decisions."""

    uid: str | None
    generation: int | None
    policy: Policy
    memory: Memory
    current: int
    bounds: Bounds
    bounds_until: datetime
    advised: int | None = None


@dataclass(frozen=True, slots=True)
class Autoscalers:
    resources: Resources[ArksAutoscaler]
    targets: Targets
    applications: Applications
    facts: ScalingFacts
    events: ResourceEvents
    clock: Clock
    statuses: StatusWriter[ArksAutoscaler, ArksAutoscalerStatus]
    interval_seconds: float
    pod_autoscalers: PodAutoscalers | None = None
    """None: app-deployer follows the facts."""
    _records: dict[Key, _Record] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> Requeue | None:
        autoscaler = self.resources.cache.get(key)
        if autoscaler is None or autoscaler.metadata.deletion_timestamp is not None:
            await self._forget(key)
            return None
        if (found := self._problem(key, autoscaler)) is not None:
            status = problem_status(self._with_status(autoscaler), *found, self.clock.now())
            await self.statuses.write(autoscaler, status)
            if found[0] == _OTHER:
                await self._remove_pod_autoscaler(key)
            return Requeue(self.interval_seconds)
        await self._decide(key, autoscaler)
        return Requeue(max(self.interval_seconds, len(self._records) / DECISIONS_PER_SECOND))

    async def _forget(self, key: Key) -> None:
        """What exists and cannot be read keeps its fact."""
        if self.resources.cache.exists(key):
            self.facts.keep(key)
            return
        self._records.pop(key, None)
        self.statuses.forget(key)
        self.facts.remove(key)
        await self._remove_pod_autoscaler(key)

    async def _remove_pod_autoscaler(self, key: Key) -> None:
        if self.pod_autoscalers is not None:
            await self.pod_autoscalers.remove(key)

    def _drop_fact(self, key: Key) -> None:
        """Remove the fact once, and not at each decision."""
        if self.facts.get(key) is not None:
            self.facts.remove(key)

    def _problem(self, key: Key, autoscaler: ArksAutoscaler) -> tuple[str, str] | None:
        """Reason and message of why nothing can be decided. What was wanted before stays."""
        target = target_of(autoscaler)
        first = min(self.targets.scalers_of(target), default=key)
        if first != key:
            self._drop_fact(key)
            return _OTHER, f"ArksAutoscaler {first.name} scales {target.name} already"
        if not self.applications.exists(target):
            self.facts.keep(key)
            kind, name = autoscaler.spec.target.kind, autoscaler.spec.target.name
            return "NoApplication", f"there is no {kind} {name} in {key.namespace}, or not yet"
        problems = [text for item in autoscaler.spec.schedules if (text := schedule.problem(item)) is not None]
        if problems:
            self.facts.keep(key)
            return "InvalidSchedule", problems[0]
        return None

    async def _decide(self, key: Key, autoscaler: ArksAutoscaler) -> None:
        target = target_of(autoscaler)
        record = self._record(key, autoscaler, target)
        if record.policy.advise:
            record.current = self.applications.desired(target)
        if (seconds := self.applications.start_seconds(target)) is not None:
            record.memory = replace(record.memory, start_seconds=seconds)
        seen = self.applications.observed(target)
        record.memory, decision = decide(record.policy, self._bounds(record), record.memory, seen, record.current)
        self._carry_out(key, autoscaler, record, decision)
        limit = await self._hand_over(key, autoscaler, record.policy)
        if limit is None and seen.ready < decision.replicas:
            limit = self.applications.missing(target)
        await self._report(autoscaler, record, decision, seen, limit)

    async def _hand_over(self, key: Key, autoscaler: ArksAutoscaler, policy: Policy) -> Limit | None:
        """Let the HorizontalPodAutoscaler act, or none if this is advice. Returns what keeps it from acting."""
        if self.pod_autoscalers is None:
            return None
        try:
            if policy.advise or not scalable(autoscaler):
                await self.pod_autoscalers.remove(key)
                return None
            return await self.pod_autoscalers.carry_out(autoscaler)
        except ArksError as error:
            return Limit("HorizontalPodAutoscalerInactive", str(error))

    def _carry_out(self, key: Key, autoscaler: ArksAutoscaler, record: _Record, decision: Decision) -> None:
        wanted, before = decision.replicas, record.current
        if record.policy.advise:
            self._drop_fact(key)
            if wanted not in {before, record.advised}:
                self.events.publish(autoscaler, "advised", reason=decision.why, message=f"would: {decision.message}")
            record.advised = wanted
            return
        record.current = wanted
        fact = self.facts.get(key)
        by_other = self.pod_autoscalers is not None and scalable(autoscaler)
        present = wanted, autoscaler.metadata.generation or 0, by_other
        if fact is None or (fact.replicas, fact.generation, fact.by_horizontal_pod_autoscaler) != present:
            target = target_of(autoscaler)
            made = _fact(autoscaler, decision)
            made.served_model = self.applications.served_model(target)
            made.start_seconds = round(record.memory.start_seconds)
            made.by_horizontal_pod_autoscaler = by_other
            self.facts.put(key, made)
        if wanted != before:
            self.events.publish(autoscaler, "scaled", reason=decision.why, message=decision.message)

    async def _report(
        self, autoscaler: ArksAutoscaler, record: _Record, decision: Decision, seen: Observed, limit: Limit | None
    ) -> None:
        before, generation = self.statuses.last(autoscaler).status, autoscaler.metadata.generation
        same = same_but_figures(before, generation, decision, seen, limit)
        if same and self.statuses.wait_seconds(autoscaler, figures_seconds(len(self._records))) > 0:
            return
        autoscaler = self._with_status(autoscaler)
        model = self.applications.served_model(target_of(autoscaler))
        status = status_of(autoscaler, decision, record.memory, seen, self.clock.now(), limit=limit, model=model)
        await self.statuses.write(autoscaler, status)

    def _with_status(self, autoscaler: ArksAutoscaler) -> ArksAutoscaler:
        return autoscaler.model_copy(update={"status": self.statuses.last(autoscaler).status})

    def _record(self, key: Key, autoscaler: ArksAutoscaler, target: Key) -> _Record:
        """The record of this uid and generation. A new spec keeps what was measured."""
        found, uid, generation = self._records.get(key), autoscaler.metadata.uid, autoscaler.metadata.generation
        if found is not None and found.uid == uid and found.generation == generation:
            return found
        policy, now = Policy.of(autoscaler.spec), self.clock.now()
        if found is not None and found.uid == uid:
            memory, current = found.memory, found.current
        else:
            memory, current = self._restored(key, autoscaler, target)
        made = _Record(uid, generation, policy, memory, current, Bounds(policy.minimum, policy.maximum), now)
        self._records[key] = made
        return made

    def _restored(self, key: Key, autoscaler: ArksAutoscaler, target: Key) -> tuple[Memory, int]:
        status = autoscaler.status
        memory = restored(status, self.applications.start_seconds(target))
        wanted = None if status is None or autoscaler.spec.mode == "Advise" else status.wanted_replicas
        return memory, self.applications.desired(target) if wanted is None else wanted

    def _bounds(self, record: _Record) -> Bounds:
        """The bounds now: schedules change them at the begin of a minute, and begin a start-up time early."""
        now, policy = self.clock.now(), record.policy
        if policy.schedules and now >= record.bounds_until:
            present = bounds_at(now, policy.minimum, policy.maximum, policy.schedules)
            soon = bounds_at(
                now + timedelta(seconds=record.memory.start_seconds), policy.minimum, policy.maximum, policy.schedules
            )
            record.bounds = soon if present.minimum < soon.minimum <= present.maximum else present
            record.bounds_until = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        return record.bounds


def _fact(autoscaler: ArksAutoscaler, decision: Decision) -> ScalingFact:
    key = key_of(autoscaler)
    return ScalingFact(
        namespace=key.namespace,
        application=autoscaler.spec.target.name,
        stage=autoscaler.spec.target.stage or "",
        generation=autoscaler.metadata.generation or 0,
        autoscaler=key.name,
        replicas=decision.replicas,
        reason=decision.why,
        message=decision.message,
    )
