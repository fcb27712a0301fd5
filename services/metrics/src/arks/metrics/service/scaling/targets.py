"""Which autoscalers scale an application."""

from arks.contracts.resources import ArksAutoscaler
from arks.kit.cache import Cache
from arks.kit.key import Key


class Targets:
    """Follows the autoscalers, so that an application's are found without a search."""

    def __init__(self, autoscalers: Cache[ArksAutoscaler]) -> None:
        self._autoscalers = autoscalers
        self._targets: dict[Key, Key] = {}
        self._scalers: dict[Key, set[Key]] = {}
        autoscalers.subscribe(self._changed)

    def scalers_of(self, application: Key) -> set[Key]:
        return self._scalers.get(application, set())

    def _changed(self, key: Key) -> None:
        if (before := self._targets.pop(key, None)) is not None:
            self._scalers[before].discard(key)
            if not self._scalers[before]:
                del self._scalers[before]
        if (found := self._autoscalers.get(key)) is not None:
            target = Key(key.namespace, found.spec.target.name)
            self._targets[key] = target
            self._scalers.setdefault(target, set()).add(key)
