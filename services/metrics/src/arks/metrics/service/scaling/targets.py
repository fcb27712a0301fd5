"""Which autoscalers scale an application, or a stage of one."""

from collections.abc import Callable
from typing import TypeAlias

from arks.contracts.resources import ArksAutoscaler
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.metrics.domain.scaling.parts import target_of, whole_of

_Version: TypeAlias = tuple[str | None, int | None, bool, bool]
"""uid, generation, whether it is being deleted, whether it can be read."""


class Targets:
    """Follows the autoscalers, so that an application's are found without a search."""

    def __init__(self, autoscalers: Cache[ArksAutoscaler]) -> None:
        self._autoscalers = autoscalers
        self._targets: dict[Key, Key] = {}
        self._scalers: dict[Key, set[Key]] = {}
        self._versions: dict[Key, _Version] = {}
        self._listeners: list[Callable[[Key], None]] = []
        autoscalers.subscribe(self._changed)

    def measured(self) -> set[Key]:
        """Applications and stages whose load decides: those that are scaled, and what is in front of stages."""
        return {key for target in self._scalers for key in (target, whole_of(target))}

    def scalers_of(self, application: Key) -> set[Key]:
        return self._scalers.get(application, set())

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """Call `listener` with each autoscaler now, and when more of it changes than the status: each status that is
        written comes back as a change, and would be one decision more.
        """
        self._listeners.append(listener)
        for key in list(self._versions):
            listener(key)

    def _changed(self, key: Key) -> None:
        found, before = self._autoscalers.get(key), self._versions.pop(key, None)
        self._retarget(key, found)
        if self._autoscalers.exists(key):
            self._versions[key] = self._version(key, found)
        if before is None or self._versions.get(key) != before:
            for listener in self._listeners:
                listener(key)

    def _version(self, key: Key, found: ArksAutoscaler | None) -> _Version:
        readable = self._autoscalers.unreadable(key) is None
        if found is None:
            return None, None, False, readable
        metadata = found.metadata
        return metadata.uid, metadata.generation, metadata.deletion_timestamp is not None, readable

    def _retarget(self, key: Key, found: ArksAutoscaler | None) -> None:
        if (before := self._targets.pop(key, None)) is not None:
            self._scalers[before].discard(key)
            if not self._scalers[before]:
                del self._scalers[before]
        if found is not None:
            target = target_of(found)
            self._targets[key] = target
            self._scalers.setdefault(target, set()).add(key)
