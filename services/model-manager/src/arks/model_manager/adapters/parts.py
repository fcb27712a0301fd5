"""What differs between the homes, as an adapter hands it to the wiring."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from arks.kit.home import Secrets
from arks.model_manager.service.manager import Announcer, Storage

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Parts:
    storage: Storage
    follow: Callable[[Callable[[str], None]], None]
    """Takes what is to be called with each place in which something changed."""
    announcer: Announcer
    secrets: Secrets | None
    check_seconds: float | None
    tasks: Sequence[Work] = ()
    starts: Sequence[Work] = ()
    stops: Sequence[Work] = ()
