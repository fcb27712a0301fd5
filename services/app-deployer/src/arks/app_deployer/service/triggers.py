"""Triggers of reconciles: changes of applications, of models and of workloads."""

import asyncio
from collections.abc import Awaitable, Callable

from arks.app_deployer.domain.workload import Change
from arks.app_deployer.service.applications import ApplicationController, Workloads
from arks.app_deployer.service.controller import Announcer
from arks.app_deployer.service.disaggregated import DisaggregatedController, DisaggregatedWorkloads
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.backoff import Backoff
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.key import Key
from arks.kit.reconcile import Blocked, Controller, Reconcile, Requeue

_BACKOFF = Backoff(first_seconds=0.1, longest_seconds=10.0)


class Triggers:
    """Two controllers, and the first pass over everything that exists."""

    def __init__(
        self,
        deployer: ApplicationController,
        disaggregated_deployer: DisaggregatedController,
        *,
        applications: Resources[ArksApplication],
        disaggregated: Resources[ArksDisaggregatedApplication],
        models: Cache[ModelFact],
        workloads: Workloads,
        stages: DisaggregatedWorkloads,
        announcer: Announcer,
        clock: Clock,
        leading: Callable[[], Awaitable[None]],
    ) -> None:
        """`leading` returns once this replica of app-deployer is the leader."""
        self._leading = leading
        self._leads = False
        self._deployer = deployer
        self._disaggregated_deployer = disaggregated_deployer
        self._applications = applications.cache
        self._disaggregated = disaggregated.cache
        self._announcer = announcer
        self._seen: set[tuple[str, Key]] = set()
        self._one_more = asyncio.Event()
        self._controller = self._make("applications", deployer.reconcile, clock)
        self._disaggregated_controller = self._make("disaggregated", disaggregated_deployer.reconcile, clock)
        self.controllers = [self._controller, self._disaggregated_controller]
        applications.cache.subscribe(self._controller.enqueue)
        applications.cache.subscribe(self._name_changed)
        disaggregated.cache.subscribe(self._disaggregated_controller.enqueue)
        models.subscribe(lambda key: _enqueue(self._controller, deployer.users_of(key)))
        models.subscribe(lambda key: _enqueue(self._disaggregated_controller, disaggregated_deployer.users_of(key)))
        workloads.subscribe(self._on_change)
        stages.subscribe(self._on_stage_change)

    async def first_pass(self) -> None:
        """Remove orphans; after the first pass mark the facts complete; then idle."""
        await self._leading()
        self._leads = True
        await self._applications.synced.wait()
        await self._disaggregated.synced.wait()
        existing = {(self._controller.name, key) for key, _ in self._applications.items()}
        existing |= {(self._disaggregated_controller.name, key) for key, _ in self._disaggregated.items()}
        _enqueue(self._controller, self._deployer.orphans())
        _enqueue(self._disaggregated_controller, self._disaggregated_deployer.orphans())
        while existing - self._seen:
            self._one_more.clear()
            await self._one_more.wait()
        self._announcer.complete()
        await asyncio.Event().wait()

    def _make(self, name: str, reconcile: Reconcile, clock: Clock) -> Controller:
        async def noted(key: Key) -> Requeue | Blocked | None:
            requeue = await reconcile(key)
            self._seen.add((name, key))
            self._one_more.set()
            return requeue

        return Controller(name, noted, backoff=_BACKOFF, clock=clock)

    def _name_changed(self, key: Key) -> None:
        """A disaggregated application of the same name may have waited for it to be free."""
        if self._disaggregated.get(key) is not None:
            self._disaggregated_controller.enqueue(key)

    def _on_change(self, change: Change) -> None:
        if self._leads:
            self._deployer.on_change(change)
        self._controller.enqueue(Key(change.namespace, change.application))

    def _on_stage_change(self, key: Key) -> None:
        if self._leads:
            self._disaggregated_deployer.on_change(key)
        self._disaggregated_controller.enqueue(key)


def _enqueue(controller: Controller, keys: set[Key]) -> None:
    for key in keys:
        controller.enqueue(key)
