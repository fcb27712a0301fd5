"""The newest known values by key. A watch fills it; listeners are called on every change."""

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
        """Set once the first list is complete."""

    def get(self, key: Key) -> T | None:
        return self._values.get(key)

    def items(self) -> Iterator[tuple[Key, T]]:
        return iter(list(self._values.items()))

    def values(self) -> list[T]:
        return list(self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with each existing key now, and with the key of each later change. It must not block."""
        self._listeners.append(listener)
        for key in list(self._values):
            listener(key)

    def apply(self, key: Key, value: T | None) -> None:
        """Store a new value, or remove the key if `value` is None."""
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
        """Store a complete list: keys that are not in it are removed. Sets `synced`."""
        for key in [key for key in self._values if key not in values]:
            self.apply(key, None)
        for key, value in values.items():
            self.apply(key, value)
        self.synced.set()
