"""Reconciles ArksApplications: gather, decide, act, report."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from arks.app_deployer.domain.facts import ApplicationEvent, event_of, fact_of
from arks.app_deployer.domain.fit import Hardware, fit
from arks.app_deployer.domain.progress import Deadlines, rolling_out, signature
from arks.app_deployer.domain.status import ModelView, status_of
from arks.app_deployer.domain.workload import Change, ObservedWorkload, Refusal, Verdict, Workload
from arks.app_deployer.service.controller import Announcer, BaseController, ModelViews, soonest
from arks.app_deployer.service.engine_uses import EngineUses
from arks.app_deployer.service.scaling import Scaling, with_replicas
from arks.contracts.resources import ArksApplication, ArksApplicationStatus
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.key import Key
from arks.kit.reconcile import Requeue
from arks.kit.status import StatusWriter

log = structlog.get_logger(__name__)


WriteReplicas = Callable[[Key, int], Awaitable[None]]
"""Writes `spec.replicas` of an application. Raises ArksError."""


class Workloads(Protocol):
    """Runs applications: engine processes on one machine, LeaderWorkerSets on Kubernetes.

    Every method may be repeated and continues from the current state. A contract test suite for this port is
    in arks.app_deployer.testing.workloads_contract.
    """

    def problem(self, application: ArksApplication) -> Refusal | None:
        """Why this home cannot run the spec; None when it can."""

    def dialect(self, application: ArksApplication) -> str:
        """The runtime whose names the engines' metrics have; empty: the application's own."""

    def unsupported(self, application: ArksApplication) -> tuple[str, ...]:
        """What the engines take in a request and do not keep."""

    def end_stuck(self, key: Key, replica: str, port: int, why: str) -> bool:
        """End a stuck engine, so that it starts anew. False if it is not ready. It must not block."""

    async def apply(self, workload: Workload) -> ObservedWorkload:
        """Take the next steps to the desired state; returns soon. Raises ArksError."""

    def observe(self, key: Key) -> ObservedWorkload:
        """The observed state, from memory."""

    async def remove(self, key: Key, grace_seconds: float) -> ObservedWorkload:
        """Drain and stop all replicas; complete once nothing is observed. Raises ArksError."""

    def keys(self) -> set[Key]:
        """Applications of all existing workloads, orphans included."""

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """`listener` is called with every change that `apply` did not cause. It must not block."""


HardwareOf = Callable[[ArksApplication], Awaitable[Hardware]]
"""What the nodes of an application's replicas have."""


async def unknown_hardware(_: ArksApplication) -> Hardware:
    return Hardware()


class ApplicationController(BaseController[ArksApplication]):
    def __init__(
        self,
        *,
        applications: Resources[ArksApplication],
        models: ModelViews,
        workloads: Workloads,
        announcer: Announcer,
        clock: Clock,
        grace_seconds: float,
        scaling: Scaling,
        uses: EngineUses,
        write_replicas: WriteReplicas | None = None,
        hardware: HardwareOf = unknown_hardware,
    ) -> None:
        super().__init__(applications, announcer)
        self._hardware = hardware
        self._models = models
        self._workloads = workloads
        self._clock = clock
        self._grace_seconds = grace_seconds
        self._scaling = scaling
        self._uses = uses
        self._write_replicas = write_replicas
        self._deadlines = Deadlines()
        self._statuses = StatusWriter[ArksApplication, ArksApplicationStatus](applications, clock)

    async def _reconcile_existing(self, key: Key, application: ArksApplication) -> Requeue | None:
        await self._ensure_finalizer(key, application)
        application = self._scaling.apply(key, await self._stepped(key, application))
        self._announce_created(application)
        model = self._models.of(key, application.spec.model.name)
        problem = self._workloads.problem(application)
        may_start = problem is None and model.usable
        observed = await self._workloads.apply(Workload(application, model.fact if may_start else None))
        remaining_seconds = self._deadline_seconds(key, application, model, observed)
        verdict = await self._fit(application, model) if may_start else None
        status = await self._report(application, problem, model, observed, verdict, overdue=remaining_seconds <= 0)
        deadline_seconds = remaining_seconds if rolling_out(status.conditions) else None
        return soonest(observed.requeue_seconds, model.patience_seconds, deadline_seconds)

    async def _stepped(self, key: Key, application: ArksApplication) -> ArksApplication:
        """The application after the step from or to 0 that its HorizontalPodAutoscaler does not take."""
        replicas = self._scaling.step(key, application)
        if replicas is None or self._write_replicas is None:
            return application
        await self._write_replicas(key, replicas)
        return with_replicas(application, replicas)

    async def _fit(self, application: ArksApplication, model: ModelView) -> Verdict | None:
        if model.fact is None or not model.fact.weights_bytes:
            return None
        return fit(application.spec, model.fact, await self._hardware(application))

    def _deadline_seconds(
        self, key: Key, application: ArksApplication, model: ModelView, observed: ObservedWorkload
    ) -> float:
        deadline_seconds = application.spec.rollout_strategy.progress_deadline_seconds
        seen = (application.metadata.generation, model.usable, *signature(observed))
        return self._deadlines.remaining_seconds(key, seen, deadline_seconds, self._clock.monotonic())

    def _announce_created(self, application: ArksApplication) -> None:
        if self._statuses.adopt(application) and application.status is None:
            self._announcer.event(application, None, ApplicationEvent("created", "Created", "Accepted by app-deployer"))

    def _fact(self, application: ArksApplication, observed: ObservedWorkload) -> ReplicasFact:
        key = Key(application.namespace, application.name)
        dialect, unsupported = self._workloads.dialect(application), self._workloads.unsupported(application)
        own = self._uses.of(key, application.spec.served_name, observed)
        return fact_of(application, observed, dialect, sorted(own.union(unsupported)))

    async def _report(
        self,
        application: ArksApplication,
        problem: Refusal | None,
        model: ModelView,
        observed: ObservedWorkload,
        verdict: Verdict | None,
        *,
        overdue: bool,
    ) -> ArksApplicationStatus:
        """The fact first: traffic depends on it. `overdue`: the rollout's deadline is over."""
        key = Key(application.namespace, application.name)
        self._announcer.fact(key, self._fact(application, observed))
        last = self._statuses.last(application)
        if last.status is not None:
            application = application.model_copy(update={"status": last.status})
        deadline_seconds = application.spec.rollout_strategy.progress_deadline_seconds
        overdue_seconds = deadline_seconds if overdue else None
        now = self._clock.now()
        status = status_of(application, problem, model, observed, now, fit=verdict, overdue_seconds=overdue_seconds)
        await self._statuses.write(application, status)
        if last.resource.spec.replicas != application.spec.replicas:
            message = f"from {last.resource.spec.replicas} to {application.spec.replicas} replicas"
            self._announcer.event(application, status, ApplicationEvent("scaled", "Scaled", message))
        if (what := event_of(last.status, status)) is not None:
            self._announcer.event(application, status, what)
        return status

    async def _remove(self, key: Key, application: ArksApplication) -> bool:
        given = application.spec.instance_spec.termination_grace_period_seconds
        observed = await self._workloads.remove(key, self._grace_seconds if given is None else float(given))
        if observed.replicas or observed.terminating:
            self._announcer.fact(key, self._fact(application, observed))
            return False
        self._announcer.remove_fact(key)
        self._uses.forget(key)
        return True

    async def _clean_up(self, key: Key) -> bool:
        self._deadlines.forget(key)
        self._statuses.forget(key)
        self._uses.forget(key)
        observed = await self._workloads.remove(key, self._grace_seconds)
        if not observed.replicas:
            self._announcer.remove_fact(key)
        return not (observed.replicas or observed.terminating)

    def on_change(self, change: Change) -> None:
        """Write the fact at once when a replica changes by itself; `reconcile` does the rest."""
        key = Key(change.namespace, change.application)
        application = self._applications.cache.get(key)
        if application is None:
            return
        observed = self._workloads.observe(key)
        self._announcer.fact(key, self._fact(self._scaling.apply(key, application), observed))
        if change.verb is not None:
            self._announcer.replica_event(application, change, observed)

    def _existing_keys(self) -> set[Key]:
        return self._workloads.keys()
