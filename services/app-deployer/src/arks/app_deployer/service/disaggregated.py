"""Reconciles ArksDisaggregatedApplications: a router, engines for prefill, engines for decode."""

from collections.abc import Callable
from typing import Protocol

from arks.app_deployer.domain.disaggregated import STAGES, ObservedDisaggregated, fact_of, status_of
from arks.app_deployer.domain.facts import ApplicationEvent, event_of
from arks.app_deployer.domain.progress import Deadlines, rolling_out, signature
from arks.app_deployer.domain.workload import Refusal
from arks.app_deployer.service.controller import Announcer, BaseController, ModelViews, soonest
from arks.app_deployer.service.scaling import Scaling
from arks.contracts.resources import ArksDisaggregatedApplication, ArksDisaggregatedApplicationStatus
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.status import StatusWriter


class DisaggregatedWorkloads(Protocol):
    """Runs disaggregated applications. Every method may be repeated and continues from the current state."""

    def problem(self, application: ArksDisaggregatedApplication) -> Refusal | None:
        """Why this home cannot run the spec; None when it can."""

    async def apply(self, application: ArksDisaggregatedApplication, model: ModelFact | None) -> ObservedDisaggregated:
        """Take the next steps; without a model nothing is started and what runs goes on. Raises ArksError."""

    def dialect(self, application: ArksDisaggregatedApplication) -> str:
        """The runtime whose names its routers' metrics have; empty: no engine's."""

    def stage_dialect(self, application: ArksDisaggregatedApplication) -> str:
        """The runtime whose names its engines' metrics have; empty: engines have no page, their routers' counts."""

    def observe(self, key: Key) -> ObservedDisaggregated:
        """The observed state, from memory."""

    async def remove(self, key: Key) -> ObservedDisaggregated:
        """Stop everything; complete once nothing is observed. Raises ArksError."""

    def keys(self) -> set[Key]:
        """Applications of everything that exists, orphans included."""

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """`listener` is called with every change that `apply` did not cause. It must not block."""


class DisaggregatedController(BaseController[ArksDisaggregatedApplication]):
    def __init__(
        self,
        *,
        applications: Resources[ArksDisaggregatedApplication],
        name_taken: Callable[[Key], bool],
        models: ModelViews,
        workloads: DisaggregatedWorkloads,
        announcer: Announcer,
        clock: Clock,
        scaling: Scaling,
    ) -> None:
        """`name_taken`: whether an ArksApplication bears that name; both kinds would make the same Service."""
        super().__init__(applications, announcer)
        self._name_taken = name_taken
        self._models = models
        self._workloads = workloads
        self._clock = clock
        self._scaling = scaling
        self._deadlines = Deadlines()
        self._statuses = StatusWriter[ArksDisaggregatedApplication, ArksDisaggregatedApplicationStatus](
            applications, clock
        )

    async def _reconcile_existing(self, key: Key, application: ArksDisaggregatedApplication) -> Requeue | None:
        application = self._scaling.apply_stages(key, application)
        problem = self._problem(key, application)
        model = self._models.of(key, application.spec.model.name)
        if problem is None:
            await self._ensure_finalizer(key, application)
            observed = await self._workloads.apply(application, model.fact if model.usable else None)
            self._announcer.fact(key, self._fact(application, observed))
        else:
            observed = ObservedDisaggregated()
        last = self._statuses.last(application)
        before = last.status
        current = application.model_copy(update={"status": before})
        deadline_seconds = application.spec.rollout_strategy.progress_deadline_seconds
        seen = (application.metadata.generation, model.usable, *signature(*observed.parts.values()))
        remaining = self._deadlines.remaining_seconds(key, seen, deadline_seconds, self._clock.monotonic())
        overdue_seconds = deadline_seconds if remaining <= 0 else None
        now = self._clock.now()
        status = status_of(current, problem, model, observed, now, overdue_seconds=overdue_seconds)
        await self._statuses.write(application, status)
        if scaled := _scaled(last.resource, application):
            self._announcer.event(application, status, ApplicationEvent("scaled", "Scaled", scaled))
        if (what := event_of(before, status)) is not None:
            self._announcer.event(application, status, what)
        return soonest(
            observed.requeue_seconds, model.patience_seconds, remaining if rolling_out(status.conditions) else None
        )

    def _problem(self, key: Key, application: ArksDisaggregatedApplication) -> Refusal | None:
        if self._name_taken(key):
            message = f"an ArksApplication is named {key.name} too, and both would make the same Service: rename one"
            return Refusal("NameTaken", message)
        return self._workloads.problem(application)

    async def _remove(self, key: Key, application: ArksDisaggregatedApplication) -> bool:
        observed = await self._workloads.remove(key)
        if observed.terminating:
            self._announcer.fact(key, self._fact(application, observed))
            return False
        if not self._name_taken(key):
            self._announcer.remove_fact(key)
        self._statuses.forget(key)
        return True

    async def _clean_up(self, key: Key) -> bool:
        self._deadlines.forget(key)
        self._statuses.forget(key)
        observed = await self._workloads.remove(key)
        if not observed.terminating and not self._name_taken(key):
            self._announcer.remove_fact(key)
        return not observed.terminating

    def on_change(self, key: Key) -> None:
        """Write the fact at once when something changes by itself; `reconcile` does the rest."""
        application = self._applications.cache.get(key)
        if application is not None and self._problem(key, application) is None:
            application = self._scaling.apply_stages(key, application)
            self._announcer.fact(key, self._fact(application, self._workloads.observe(key)))

    def _fact(self, application: ArksDisaggregatedApplication, observed: ObservedDisaggregated) -> ReplicasFact:
        workloads = self._workloads
        return fact_of(application, observed, workloads.dialect(application), workloads.stage_dialect(application))

    def _existing_keys(self) -> set[Key]:
        return self._workloads.keys()


def _scaled(before: ArksDisaggregatedApplication, now: ArksDisaggregatedApplication) -> str:
    """What changed in the numbers of the stages' replicas; empty if nothing did."""
    numbers = {stage: (getattr(before.spec, stage).replicas, getattr(now.spec, stage).replicas) for stage in STAGES}
    changes = [f"{stage} from {old} to {new} replicas" for stage, (old, new) in numbers.items() if old != new]
    return ", ".join(changes)
