"""The parts of the service that differ between the homes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from arks.contracts.resources import ArksModel
from arks.kit.home import Secrets
from arks.kit.types import AsyncCallable
from arks.model_manager.service.ports import CacheHome, Publisher, Storage


@dataclass(frozen=True, slots=True)
class Parts:
    """Made by a home's wiring, used by `main`."""

    storage: Storage
    follow: Callable[[Callable[[str], None]], None]
    """Sets the function that is called with each storage path whose weights or download changed."""
    publisher: Publisher
    secrets: Secrets | None
    """None where downloads get credentials from the platform."""
    check_seconds: float | None
    """Interval of checks of a ready model's files; None: the storage reports losses by itself."""
    caches: CacheHome | None = None
    """Nodes that keep copies; None where none do."""
    path_of: Callable[[ArksModel], str] = lambda _: ""
    """Of a model's directory in the volume of copies."""
    tasks: Sequence[AsyncCallable] = ()
    starts: Sequence[AsyncCallable] = ()
    stops: Sequence[AsyncCallable] = ()
