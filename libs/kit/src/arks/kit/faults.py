"""Isolates objects and messages from each other: one that cannot be read is logged and counted, and its loop goes on.

Every loop that reads from others (informers, watches of buckets, consumers) reads through `Faults.read`, so no reader
can end it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from prometheus_client import Counter

from arks.kit.cache import Unreadable
from arks.kit.telemetry import redact

log = structlog.get_logger(__name__)

T = TypeVar("T")
_FAULT_CHARACTERS = 500


class Faults:
    def __init__(self, counter: Counter) -> None:
        """`counter`: with one label, the source."""
        self._counter = counter

    def read(self, source: str, name: object, read: Callable[[], T]) -> T | Unreadable[Any]:
        """Return what `read` returns, or Unreadable if it raises. `source`, `name`: where it is from."""
        try:
            found = read()
        except Exception as error:  # whatever a reader overlooks, the loop must read the next object
            fault = redact(f"{type(error).__name__}: {error}")[:_FAULT_CHARACTERS]
            log.warning("not readable", source=source, name=str(name), error=fault, exc_info=error)
            self._counter.labels(source).inc()
            return Unreadable(fault)
        if isinstance(found, Unreadable):
            log.warning("not readable", source=source, name=str(name), error=found.fault)
            self._counter.labels(source).inc()
        return found

    def handle(self, source: str, name: object, handle: Callable[[], None]) -> None:
        """As `read`, for a message that is only handled."""
        self.read(source, name, handle)

    def failed(self, source: str, name: object, error: Exception) -> None:
        """Count an object whose change could not be handled."""
        log.error("change not handled", source=source, name=str(name), exc_info=error)
        self._counter.labels(source).inc()
