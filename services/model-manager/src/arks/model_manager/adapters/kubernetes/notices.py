"""Publish a model's changes as Kubernetes Events too, for `kubectl describe`."""

from arks.contracts.resources import ArksModel, ArksModelStatus, ModelPhase
from arks.kit.key import Key
from arks.kit.kube.events import KubeEventQueue
from arks.model_manager.adapters.publisher import condition_of, ready_condition
from arks.model_manager.service.ports import Publisher

_WARNING_OF_VERB = {"downloading": False, "ready": False, "failed": True, "cached": False, "cache-failed": True}
"""Event verbs that become Kubernetes Events, and whether as warnings."""
_FAULTS = frozenset({"BoundFailed", "CreateWorkerPodFailed"})
"""Reasons that users have to see although the phase is not Failed, so that no event verb shows them."""


class KubeNotices:
    """A publisher that adds Kubernetes Events to what `publisher` does."""

    def __init__(self, publisher: Publisher, events: KubeEventQueue) -> None:
        self._publisher = publisher
        self._events = events
        self._waits: dict[Key, str] = {}
        """Fault that a model waits for."""

    def write_fact(self, model: ArksModel, status: ArksModelStatus) -> None:
        self._publisher.write_fact(model, status)
        reason, message = ready_condition(status)
        waits = status.phase is not ModelPhase.FAILED and reason in _FAULTS
        key = Key(model.namespace, model.name)
        if self._waits.get(key) == (reason if waits else None):
            return
        self._waits.pop(key, None)
        if waits:
            self._waits[key] = reason
            self._events.put(model, reason, message, warning=True)

    def publish_event(self, verb: str, model: ArksModel, status: ArksModelStatus, message: str | None = None) -> None:
        self._publisher.publish_event(verb, model, status, message)
        if verb in _WARNING_OF_VERB:
            self._events.put(model, *condition_of(verb, status), warning=_WARNING_OF_VERB[verb])

    def keep_fact(self, key: Key) -> None:
        self._publisher.keep_fact(key)

    def remove_fact(self, key: Key) -> None:
        self._publisher.remove_fact(key)
        self._waits.pop(key, None)

    def complete_facts(self) -> None:
        self._publisher.complete_facts()
