"""The newest known values by key. A watch fills it; listeners are called on every change."""

import asyncio
from collections.abc import AsyncIterable, Callable, Container, Iterator, Mapping
from typing import Generic, TypeVar

from arks.kit.key import Key

T = TypeVar("T")
Listener = Callable[[Key], None]
_SLICE = 200
"""Values of a list that are stored without a pause: about 2 ms, so that 100,000 do not hold up requests."""


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
            known = self._values.get(key)
            if known is value or known == value:
                return
            self._values[key] = value
        for listener in self._listeners:
            listener(key)

    def replace(self, values: Mapping[Key, T]) -> None:
        """Store a complete list: keys that are not in it are removed. Sets `synced`."""
        self._keep_only(values)
        for key, value in values.items():
            self.apply(key, value)
        self.synced.set()

    async def load(self, listed: AsyncIterable[tuple[Key, T | None]]) -> None:
        """As `replace`, from a list that arrives in pieces: a later value of a key wins, None removes it.

        Nothing of the first list is visible before all of it has arrived. Each value of a later list is stored when it
        arrives, so that there are never two copies of everything; other keys are removed at its end.
        """
        if self.synced.is_set():
            await self._load_again(listed)
        else:
            await self._load_first(listed)

    async def _load_first(self, listed: AsyncIterable[tuple[Key, T | None]]) -> None:
        values: dict[Key, T] = {}
        async for key, value in listed:
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        self._keep_only(values)
        for number, (key, value) in enumerate(values.items(), 1):
            self.apply(key, value)
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        self.synced.set()

    async def _load_again(self, listed: AsyncIterable[tuple[Key, T | None]]) -> None:
        found: set[Key] = set()
        async for key, value in listed:
            self.apply(key, value)
            if value is None:
                found.discard(key)
            else:
                found.add(key)
        self._keep_only(found)

    def _keep_only(self, keys: Container[Key]) -> None:
        for key in [key for key in self._values if key not in keys]:
            self.apply(key, None)
