"""Keeps disaggregated applications as their specs want them: a router, engines for prefill, engines for decode."""

from collections.abc import Callable
from typing import Protocol

from arks.app_deployer.domain.disaggregated import Seen, fact_of, status_of
from arks.app_deployer.domain.facts import Happened, happened
from arks.app_deployer.domain.workload import Refusal
from arks.app_deployer.service.controller import Deployer, ModelViews, soonest
from arks.contracts.resources import ArksDisaggregatedApplication, ArksDisaggregatedApplicationStatus
from arks.events.v1.facts_pb2 import ModelFact, ReplicasFact
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.reconcile import Key, Requeue


class Stages(Protocol):
    """Runs disaggregated applications. Every method may be called again at any time and goes on from what is there."""

    def problem(self, application: ArksDisaggregatedApplication) -> Refusal | None:
        """Why this home cannot run the spec; None when it can."""

    async def apply(self, application: ArksDisaggregatedApplication, model: ModelFact | None) -> Seen:
        """Take the next steps; without a model nothing is started and what runs goes on. Raises ArksError."""

    def observe(self, key: Key) -> Seen:
        """What is there now, from memory."""

    async def remove(self, key: Key) -> Seen:
        """End everything; done when nothing is seen any more. Raises ArksError."""

    def keys(self) -> set[Key]:
        """Of everything that there is, wanted or not."""

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """`listener` is called with every change that nobody asked for. It must not block."""


class Announcer(Protocol):
    def fact(self, key: Key, fact: ReplicasFact) -> None: ...
    def fact_gone(self, key: Key) -> None: ...
    def event(
        self,
        application: ArksDisaggregatedApplication,
        status: ArksDisaggregatedApplicationStatus | None,
        what: Happened,
    ) -> None: ...


class DisaggregatedDeployer(Deployer[ArksDisaggregatedApplication]):
    def __init__(
        self,
        *,
        applications: Resources[ArksDisaggregatedApplication],
        taken: Callable[[Key], bool],
        models: ModelViews,
        stages: Stages,
        announcer: Announcer,
        clock: Clock,
    ) -> None:
        """`taken`: whether an ArksApplication bears that name; both kinds would make the same Service."""
        super().__init__(applications, announcer)
        self._taken = taken
        self._models = models
        self._stages = stages
        self._announcer = announcer
        self._clock = clock
        self._told: dict[Key, ArksDisaggregatedApplicationStatus] = {}

    async def _keep(self, key: Key, application: ArksDisaggregatedApplication) -> Requeue | None:
        problem = self._problem(key, application)
        model = self._models.of(key, application.spec.model.name)
        if problem is None:
            await self._hold(key, application)
            seen = await self._stages.apply(application, model.fact if model.usable else None)
            self._announcer.fact(key, fact_of(application, seen))
        else:
            seen = Seen()
        before = self._told.get(key) or application.status
        current = application.model_copy(update={"status": before})
        status = status_of(current, problem, model, seen, self._clock.now())
        if status != before:
            await self._applications.patch_status(key, status)
        if (what := happened(before, status)) is not None:
            self._announcer.event(application, status, what)
        self._told[key] = status
        return soonest(seen.again_seconds, model.patience_seconds)

    def _problem(self, key: Key, application: ArksDisaggregatedApplication) -> Refusal | None:
        if self._taken(key):
            message = f"an ArksApplication is named {key.name} too, and both would make the same Service: rename one"
            return Refusal("NameTaken", message)
        return self._stages.problem(application)

    async def _end(self, key: Key, application: ArksDisaggregatedApplication) -> bool:
        seen = await self._stages.remove(key)
        if seen.leaving:
            self._announcer.fact(key, fact_of(application, seen))
            return False
        if not self._taken(key):
            self._announcer.fact_gone(key)
        self._told.pop(key, None)
        return True

    async def _clean_up(self, key: Key) -> None:
        self._told.pop(key, None)
        if not (await self._stages.remove(key)).leaving and not self._taken(key):
            self._announcer.fact_gone(key)

    def on_change(self, key: Key) -> None:
        """Something changed by itself: neighbours know at once, the rest follows by `reconcile`."""
        application = self._applications.cache.get(key)
        if application is not None and self._problem(key, application) is None:
            self._announcer.fact(key, fact_of(application, self._stages.observe(key)))

    def _running(self) -> set[Key]:
        return self._stages.keys()
