"""Which autoscalers scale an application, or a stage of one."""

from arks.contracts.resources import ArksAutoscaler
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.metrics.domain.scaling.parts import target_of


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
            target = target_of(found)
            self._targets[key] = target
            self._scalers.setdefault(target, set()).add(key)
