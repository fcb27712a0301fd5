"""The applications of each model, from watches."""

from collections.abc import Callable, Iterable
from functools import partial

from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.model_manager.adapters.kubernetes.placement import Consumer


class Consumers:
    def __init__(self, caches: Iterable[Cache[Consumer]]) -> None:
        self._caches = list(caches)
        self._known: list[dict[Key, Consumer]] = [{} for _ in self._caches]
        self._by_model: dict[Key, dict[tuple[int, str], Consumer]] = {}
        self.changed: Callable[[Key], None] = lambda _: None
        """Called with a model whose applications changed."""
        for number, cache in enumerate(self._caches):
            cache.subscribe(partial(self._handle, number))

    def of(self, model: Key) -> list[tuple[str, Consumer]]:
        """(name, consumer) of the applications that name the model, in order of their names."""
        found = self._by_model.get(model, {})
        return [(name, consumer) for (_, name), consumer in sorted(found.items(), key=lambda item: item[0])]

    def _handle(self, number: int, key: Key) -> None:
        known = self._known[number]
        before, now = known.get(key), self._caches[number].get(key)
        if before == now:
            return
        if before is not None:
            model = Key(key.namespace, before.model)
            self._by_model[model].pop((number, key.name), None)
            if not self._by_model[model]:
                del self._by_model[model]
            del known[key]
        if now is not None:
            known[key] = now
            self._by_model.setdefault(Key(key.namespace, now.model), {})[number, key.name] = now
        for name in {found.model for found in (before, now) if found is not None}:
            self.changed(Key(key.namespace, name))
