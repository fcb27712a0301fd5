"""How many replicas an application shall have: as its autoscaler wants, otherwise as its spec has it."""

from collections.abc import Callable
from typing import TypeAlias

from arks.app_deployer.domain.disaggregated import STAGES
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ScalingFact
from arks.kit.cache import Cache
from arks.kit.key import Key

_Target: TypeAlias = tuple[Key, str]
"""An application, and its stage if it is disaggregated."""


class Scaling:
    """The facts of autoscalers by the application that each scales. While a fact exists it counts, however old it is:
    an unavailable `metrics` changes no number."""

    def __init__(self, facts: Cache[ScalingFact]) -> None:
        self._facts = facts
        self._targets: dict[Key, _Target] = {}
        self._scalers: dict[_Target, set[Key]] = {}
        self._listeners: list[Callable[[Key], None]] = []
        facts.subscribe(self._changed)

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """`listener` is called with each application whose wanted number may have changed."""
        self._listeners.append(listener)

    def wanted(self, application: Key, stage: str = "") -> int | None:
        """Replicas that an autoscaler wants; None: the number in the spec counts."""
        fact = self._fact(application, stage)
        return None if fact is None or fact.by_horizontal_pod_autoscaler else fact.replicas

    def step(self, key: Key, application: ArksApplication) -> int | None:
        """Replicas to write into the spec: a HorizontalPodAutoscaler does not take the step between 0 and 1."""
        fact = self._fact(key)
        if fact is None or not fact.by_horizontal_pod_autoscaler:
            return None
        wanted = min(fact.replicas, 1)
        return wanted if wanted != min(application.spec.replicas, 1) else None

    def apply(self, key: Key, application: ArksApplication) -> ArksApplication:
        """The application with the number of replicas that counts."""
        wanted = self.wanted(key)
        if wanted is None or wanted == application.spec.replicas:
            return application
        return with_replicas(application, wanted)

    def apply_stages(self, key: Key, application: ArksDisaggregatedApplication) -> ArksDisaggregatedApplication:
        """The application with the numbers of its stages' replicas that count."""
        changes = {
            stage: getattr(application.spec, stage).model_copy(update={"replicas": wanted})
            for stage in STAGES
            if (wanted := self.wanted(key, stage)) is not None and wanted != getattr(application.spec, stage).replicas
        }
        if not changes:
            return application
        return application.model_copy(update={"spec": application.spec.model_copy(update=changes)})

    def _fact(self, application: Key, stage: str = "") -> ScalingFact | None:
        """Of several autoscalers the first by name counts."""
        scalers = self._scalers.get((application, stage))
        return self._facts.get(min(scalers)) if scalers else None

    def _changed(self, scaler: Key) -> None:
        fact = self._facts.get(scaler)
        target = None if fact is None else (Key(fact.namespace, fact.application), fact.stage)
        before = self._targets.pop(scaler, None)
        if before is not None:
            self._scalers[before].discard(scaler)
        if target is not None:
            self._targets[scaler] = target
            self._scalers.setdefault(target, set()).add(scaler)
        for application in {found[0] for found in (before, target) if found is not None}:
            for listener in self._listeners:
                listener(application)


def with_replicas(application: ArksApplication, replicas: int) -> ArksApplication:
    return application.model_copy(update={"spec": application.spec.model_copy(update={"replicas": replicas})})
