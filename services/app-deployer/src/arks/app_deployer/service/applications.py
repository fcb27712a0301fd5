"""Keeps every application's engines as its spec wants them: gather, decide, act, tell."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from arks.app_deployer.domain.facts import Happened, fact_of, happened
from arks.app_deployer.domain.status import ModelView, status_of
from arks.app_deployer.domain.workload import Change, Observed, Refusal, Workload
from arks.app_deployer.service.controller import Deployer, ModelViews, soonest
from arks.contracts.resources import ArksApplication, ArksApplicationStatus
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.reconcile import Key, Requeue

log = structlog.get_logger(__name__)


class Workloads(Protocol):
    """Runs applications: engine processes on one machine, LeaderWorkerSets on Kubernetes.

    Every method may be called again at any time and goes on from what is there. A contract test suite for this port is
    in arks.app_deployer.testing.workloads_contract.
    """

    def problem(self, application: ArksApplication) -> Refusal | None:
        """Why this home cannot run the spec; None when it can."""

    async def apply(self, workload: Workload) -> Observed:
        """Take the next steps towards what is wanted; returns soon. Raises ArksError."""

    def observe(self, key: Key) -> Observed:
        """What is there now. From memory, so that a change is known to everybody at once."""

    async def remove(self, key: Key, grace_seconds: float) -> Observed:
        """Drain what serves and end everything; done when nothing is observed any more. Raises ArksError."""

    def keys(self) -> set[Key]:
        """Of every workload that there is, wanted or not."""

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """`listener` is called with every change that nobody asked for. It must not block."""


class Announcer(Protocol):
    """Tells the bus: the fact for machines, events for people."""

    def fact(self, key: Key, fact: ReplicasFact) -> None: ...
    def fact_gone(self, key: Key) -> None: ...
    def complete(self) -> None:
        """All applications that exist have been announced."""

    def event(self, application: ArksApplication, status: ArksApplicationStatus | None, what: Happened) -> None: ...
    def replica_event(self, application: ArksApplication, change: Change, observed: Observed) -> None: ...


@dataclass(slots=True)
class _Told:
    """What was last said about an application: the cache lags behind our own writes."""

    uid: str | None
    replicas: int
    status: ArksApplicationStatus | None


class AppDeployer(Deployer[ArksApplication]):
    def __init__(
        self,
        *,
        applications: Resources[ArksApplication],
        models: ModelViews,
        workloads: Workloads,
        announcer: Announcer,
        clock: Clock,
        grace_seconds: float,
    ) -> None:
        super().__init__(applications, announcer)
        self._models = models
        self._workloads = workloads
        self._announcer = announcer
        self._clock = clock
        self._grace_seconds = grace_seconds
        self._told: dict[Key, _Told] = {}

    async def _keep(self, key: Key, application: ArksApplication) -> Requeue | None:
        await self._hold(key, application)
        self._welcome(key, application)
        model = self._models.of(key, application.spec.model.name)
        problem = self._workloads.problem(application)
        may_start = problem is None and model.usable
        observed = await self._workloads.apply(Workload(application, model.fact if may_start else None))
        await self._report(key, application, problem, model, observed)
        return soonest(observed.again_seconds, model.patience_seconds)

    def _welcome(self, key: Key, application: ArksApplication) -> None:
        known = self._known(key, application)
        if known.status is None and self._told.get(key) is not known:
            self._announcer.event(application, None, Happened("created", "Created", "app-deployer has taken it up"))
        self._told[key] = known

    async def _report(
        self, key: Key, application: ArksApplication, problem: Refusal | None, model: ModelView, observed: Observed
    ) -> None:
        """The fact first: traffic depends on it."""
        self._announcer.fact(key, fact_of(application, observed))
        told = self._known(key, application)
        if told.status is not None:
            application = application.model_copy(update={"status": told.status})
        status = status_of(application, problem, model, observed, self._clock.now())
        if status != told.status:
            await self._applications.patch_status(key, status)
        if told.replicas != application.spec.replicas:
            message = f"from {told.replicas} to {application.spec.replicas} replicas"
            self._announcer.event(application, status, Happened("scaled", "Scaled", message))
        if (what := happened(told.status, status)) is not None:
            self._announcer.event(application, status, what)
        self._told[key] = _Told(application.metadata.uid, application.spec.replicas, status)

    def _known(self, key: Key, application: ArksApplication) -> _Told:
        """One of the same name that was deleted and made again is another one."""
        told = self._told.get(key)
        if told is not None and told.uid == application.metadata.uid:
            return told
        return _Told(application.metadata.uid, application.spec.replicas, application.status)

    async def _end(self, key: Key, application: ArksApplication) -> bool:
        given = application.spec.instance_spec.termination_grace_period_seconds
        observed = await self._workloads.remove(key, self._grace_seconds if given is None else float(given))
        if observed.replicas or observed.leaving:
            self._announcer.fact(key, fact_of(application, observed))
            return False
        self._announcer.fact_gone(key)
        return True

    async def _clean_up(self, key: Key) -> None:
        self._told.pop(key, None)
        observed = await self._workloads.remove(key, self._grace_seconds)
        if not observed.replicas:
            self._announcer.fact_gone(key)

    def on_change(self, change: Change) -> None:
        """A replica changed by itself: neighbours know at once, the rest follows by `reconcile`."""
        key = Key(change.namespace, change.application)
        application = self._applications.cache.get(key)
        if application is None:
            return
        observed = self._workloads.observe(key)
        self._announcer.fact(key, fact_of(application, observed))
        if change.verb is not None:
            self._announcer.replica_event(application, change, observed)

    def _running(self) -> set[Key]:
        return self._workloads.keys()
