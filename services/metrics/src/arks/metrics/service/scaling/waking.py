"""Requests that wait for a first replica: autoscalers decide at once, without waiting for their interval."""

from collections.abc import Callable

from arks.kit.key import Key
from arks.metrics.domain.scaling.traffic import Ended
from arks.metrics.service.scaling.applications import Applications
from arks.metrics.service.scaling.targets import Targets


class Waking:
    """Counts requests, and enqueues the autoscalers of the applications and stages that they wait for."""

    def __init__(self, applications: Applications, targets: Targets, enqueue: Callable[[Key], None]) -> None:
        self._applications = applications
        self._targets = targets
        self._enqueue = enqueue

    def take(self, namespace: str, endpoint: str, request: Ended) -> None:
        self._wake(self._applications.take(namespace, endpoint, request))

    def take_refused(self, namespace: str, names: set[str], count: int) -> None:
        self._wake(self._applications.take_refused(namespace, names, count))

    def take_held(self, namespace: str, names: set[str], holder: str, count: int, seconds: float) -> None:
        self._wake(self._applications.take_held(namespace, names, holder, count, seconds))

    def _wake(self, waited_for: set[Key]) -> None:
        for application in waited_for:
            for scaler in self._targets.scalers_of(application):
                self._enqueue(scaler)
