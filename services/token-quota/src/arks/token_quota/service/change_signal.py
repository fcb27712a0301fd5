"""Who wants to know that the state of a resource changed."""

from collections.abc import Callable

from arks.kit.key import Key


class ChangeSignal:
    """Calls each subscriber with the key of a resource whose state changed. A subscriber must not block."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Key], None]] = []

    def subscribe(self, subscriber: Callable[[Key], None]) -> None:
        self._subscribers.append(subscriber)

    def emit(self, key: Key) -> None:
        for subscriber in self._subscribers:
            subscriber(key)
