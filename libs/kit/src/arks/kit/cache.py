"""The newest known state of many things, fed by a watch, read by anyone, with callbacks on change."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from arks.kit.key import Key

T = TypeVar("T")
Listener = Callable[[Key], None]


class Cache(Generic[T]):
    def __init__(self) -> None:
        self._values: dict[Key, T] = {}
        self._listeners: list[Listener] = []
        self.synced = asyncio.Event()
        """Set once everything that existed at the start has arrived."""

    def get(self, key: Key) -> T | None:
        return self._values.get(key)

    def items(self) -> Iterator[tuple[Key, T]]:
        return iter(list(self._values.items()))

    def values(self) -> list[T]:
        return list(self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def subscribe(self, listener: Listener) -> None:
        """`listener` is called with the key of each change, and now with each key there is. It must not block."""
        self._listeners.append(listener)
        for key in list(self._values):
            listener(key)

    def apply(self, key: Key, value: T | None) -> None:
        """One change: a new state, or None when the thing is gone."""
        if value is None:
            if self._values.pop(key, None) is None:
                return
        else:
            if self._values.get(key) == value:
                return
            self._values[key] = value
        for listener in self._listeners:
            listener(key)

    def replace(self, values: Mapping[Key, T]) -> None:
        """Everything there is, after a new list: what is not in it is gone."""
        for key in [key for key in self._values if key not in values]:
            self.apply(key, None)
        for key, value in values.items():
            self.apply(key, value)
        self.synced.set()
