"""The newest known values by key. A watch fills it; listeners are called on every change."""

import asyncio
from collections.abc import AsyncIterable, Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import structlog

from arks.kit.key import Key

log = structlog.get_logger(__name__)

T = TypeVar("T")
Listener = Callable[[Key], None]
OnFault = Callable[[Key, Exception], None]
_SLICE = 200
"""Values of a list that are stored without a pause: about 2 ms, so that 100,000 do not hold up requests."""


@dataclass(frozen=True, slots=True)
class Unreadable(Generic[T]):
    """Takes the place of a value that exists and cannot be read. The cache keeps the last value that could be read."""

    fault: str
    """For people; without secrets."""
    deleting: bool = False
    """Whether it is being deleted: its owner has to finish that without the value."""
    last: T | None = None
    """Replaces the value that the cache keeps; None keeps that."""


Found: TypeAlias = Unreadable[T] | T | None
"""What a watch found at a key: a value, nothing, or something that cannot be read."""


class Cache(Generic[T]):
    def __init__(self) -> None:
        self._values: dict[Key, T] = {}
        self._unreadable: dict[Key, Unreadable[T]] = {}
        self._listeners: list[Listener] = []
        self.on_fault: OnFault = _log_fault
        """Called with the error of a listener. The others are called all the same, and the watch goes on."""
        self.synced = asyncio.Event()
        """Set once the first list is complete."""

    def get(self, key: Key) -> T | None:
        """The value, or the last one that could be read."""
        return self._values.get(key)

    def unreadable(self, key: Key) -> Unreadable[T] | None:
        """The fault of a key whose newest state cannot be read; None if it can, or does not exist."""
        return self._unreadable.get(key)

    def exists(self, key: Key) -> bool:
        """Whether the key exists, readable or not."""
        return key in self._values or key in self._unreadable

    def existing(self) -> set[Key]:
        """All keys that exist, readable or not."""
        return self._values.keys() | self._unreadable.keys()

    def items(self) -> Iterator[tuple[Key, T]]:
        return iter(list(self._values.items()))

    def values(self) -> list[T]:
        return list(self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with each existing key now, and with the key of each later change. It must not block."""
        self._listeners.append(listener)
        for key in self.existing() if self._unreadable else list(self._values):
            self._call(listener, key)

    def apply(self, key: Key, found: Found[T]) -> None:
        """Store a new value, remove the key if `found` is None, or keep the last value of what cannot be read."""
        if isinstance(found, Unreadable):
            changed = self._unreadable.get(key) != found
            self._unreadable[key] = found
            value = self._values.get(key) if found.last is None else found.last
        else:
            changed = self._unreadable.pop(key, None) is not None
            value = found
        if self._store(key, value) or changed:
            for listener in self._listeners:
                self._call(listener, key)

    def _store(self, key: Key, value: T | None) -> bool:
        """Returns whether that changes anything."""
        if value is None:
            return self._values.pop(key, None) is not None
        known = self._values.get(key)
        if known is value or known == value:
            return False
        self._values[key] = value
        return True

    def _call(self, listener: Listener, key: Key) -> None:
        try:
            listener(key)
        except Exception as error:  # noqa: BLE001  # one bad object must not stop its watch, nor the other listeners
            self.on_fault(key, error)

    def replace(self, values: Mapping[Key, T]) -> None:
        """Store a complete list: keys that are not in it are removed. Sets `synced`."""
        self._keep_only(values)
        for key, value in values.items():
            self.apply(key, value)
        self.synced.set()

    async def load(
        self, listed: AsyncIterable[tuple[Key, Found[T]]], spare: Callable[[Key], bool] = lambda key: False
    ) -> None:
        """As `replace`, from a list that arrives in pieces: a later value of a key wins, None removes it.

        `spare`: whether a key stays that is not in the list.

        Nothing of the first list is visible before all of it has arrived. Each value of a later list is stored when it
        arrives, so that there are never two copies of everything; other keys are removed at its end.
        """
        if self.synced.is_set():
            await self._load_again(listed, spare)
        else:
            await self._load_first(listed, spare)

    async def _load_first(self, listed: AsyncIterable[tuple[Key, Found[T]]], spare: Callable[[Key], bool]) -> None:
        values: dict[Key, T | Unreadable[T]] = {}
        async for key, value in listed:
            if value is None:
                values.pop(key, None)
            else:
                values[key] = value
        self._keep_only(values, spare)
        for number, (key, value) in enumerate(values.items(), 1):
            self.apply(key, value)
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        self.synced.set()

    async def _load_again(self, listed: AsyncIterable[tuple[Key, Found[T]]], spare: Callable[[Key], bool]) -> None:
        found: set[Key] = set()
        async for key, value in listed:
            self.apply(key, value)
            if value is None:
                found.discard(key)
            else:
                found.add(key)
        self._keep_only(found, spare)

    def _keep_only(self, keys: Container[Key], spare: Callable[[Key], bool] = lambda key: False) -> None:
        for key in [key for key in self.existing() if key not in keys and not spare(key)]:
            self.apply(key, None)


def _log_fault(key: Key, error: Exception) -> None:
    log.error("change not handled", key=str(key), exc_info=error)
