"""Triggers of reconciles: changes of applications, of models and of workloads."""

from arks.app_deployer.domain.workload import Change
from arks.app_deployer.service.applications import ApplicationController, Workloads
from arks.app_deployer.service.controller import Announcer
from arks.app_deployer.service.disaggregated import DisaggregatedController, DisaggregatedWorkloads
from arks.app_deployer.service.engine_uses import EngineUses
from arks.app_deployer.service.scaling import Scaling
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.backoff import Backoff
from arks.kit.cache import Cache
from arks.kit.clock import Clock
from arks.kit.home import Resources
from arks.kit.key import Key
from arks.kit.reconcile import Controller, FirstPass
from arks.kit.tracing import Tracer

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
        scaling: Scaling,
        workloads: Workloads,
        disaggregated_workloads: DisaggregatedWorkloads,
        uses: EngineUses,
        announcer: Announcer,
        clock: Clock,
        tracer: Tracer | None = None,
    ) -> None:
        self._deployer = deployer
        self._disaggregated_deployer = disaggregated_deployer
        self._disaggregated = disaggregated.cache
        self._announcer = announcer
        self._controller = Controller(
            "applications",
            deployer.reconcile,
            backoff=_BACKOFF,
            clock=clock,
            tracer=tracer,
            first_pass=FirstPass(deployer.all_keys, self._complete_facts, announcer.keep_fact),
        )
        self._disaggregated_controller = Controller(
            "disaggregated",
            disaggregated_deployer.reconcile,
            backoff=_BACKOFF,
            clock=clock,
            tracer=tracer,
            first_pass=FirstPass(disaggregated_deployer.all_keys, self._complete_facts, announcer.keep_fact),
        )
        self.controllers = [self._controller, self._disaggregated_controller]
        applications.cache.subscribe(self._controller.enqueue)
        applications.cache.subscribe(self._name_changed)
        disaggregated.cache.subscribe(self._disaggregated_controller.enqueue)
        models.subscribe(lambda key: _enqueue(self._controller, deployer.users_of(key)))
        models.subscribe(lambda key: _enqueue(self._disaggregated_controller, disaggregated_deployer.users_of(key)))
        scaling.subscribe(self._scaled)
        workloads.subscribe(self._on_change)
        uses.subscribe(lambda key: self._on_change(Change(key.namespace, key.name)))
        disaggregated_workloads.subscribe(self._on_disaggregated_change)

    def _complete_facts(self) -> None:
        """Both kinds write into one bucket, so its facts are complete after both first passes."""
        if all(controller.passed for controller in self.controllers):
            self._announcer.complete()

    def _name_changed(self, key: Key) -> None:
        """A disaggregated application of the same name may have waited for it to be free."""
        if self._disaggregated.exists(key):
            self._disaggregated_controller.enqueue(key)

    def _scaled(self, key: Key) -> None:
        """An autoscaler of a disaggregated application has the same kind of key."""
        self._controller.enqueue(key)
        if self._disaggregated.exists(key):
            self._disaggregated_controller.enqueue(key)

    def _on_change(self, change: Change) -> None:
        if self._controller.running:
            self._deployer.on_change(change)
        self._controller.enqueue(Key(change.namespace, change.application))

    def _on_disaggregated_change(self, key: Key) -> None:
        if self._disaggregated_controller.running:
            self._disaggregated_deployer.on_change(key)
        self._disaggregated_controller.enqueue(key)


def _enqueue(controller: Controller, keys: set[Key]) -> None:
    for key in keys:
        controller.enqueue(key)
