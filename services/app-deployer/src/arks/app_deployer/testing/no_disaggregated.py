"""Workloads of a home that runs no disaggregated application."""

from collections.abc import Callable

from arks.app_deployer.domain import checks
from arks.app_deployer.domain.disaggregated import ObservedDisaggregated
from arks.app_deployer.domain.workload import Refusal
from arks.contracts.resources import ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.key import Key


class NoDisaggregatedWorkloads:
    def problem(self, application: ArksDisaggregatedApplication) -> Refusal | None:
        return checks.disaggregated_problem(application.spec)

    async def apply(self, application: ArksDisaggregatedApplication, model: ModelFact | None) -> ObservedDisaggregated:
        raise RuntimeError(f"{application.name} cannot run here, so nothing is to be applied")

    def observe(self, key: Key) -> ObservedDisaggregated:
        return ObservedDisaggregated()

    async def remove(self, key: Key) -> ObservedDisaggregated:
        return ObservedDisaggregated()

    def dialect(self, application: ArksDisaggregatedApplication) -> str:
        return ""

    def stage_dialect(self, application: ArksDisaggregatedApplication) -> str:
        return ""

    def keys(self) -> set[Key]:
        return set()

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """No change is ever reported."""
