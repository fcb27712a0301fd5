"""KV states that wait to be fetched: a bounded number of files, each for a limited time."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from arks.ark_engine.domain.failures import Failed
from arks.kit.clock import Clock

MOST_STATES = 64
EXPIRES_SECONDS = 60.0


@dataclass
class _Kept:
    file: Path
    expires_at: float


class KeptStates:
    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def new_name(self) -> str:
        """Name of a file for a state. Raises Failed when too many states wait."""
        self.remove_expired()
        if len(self._kept) >= MOST_STATES:
            raise Failed("RESOURCE_EXHAUSTED", f"{len(self._kept)} KV states wait to be fetched")
        return f"{uuid.uuid4().hex}.state"

    def keep(self, name: str) -> None:
        self._kept[name] = _Kept(self._directory / name, self._clock.monotonic() + EXPIRES_SECONDS)

    def discard(self, name: str) -> None:
        """Remove a state, kept or not yet."""
        self._kept.pop(name, None)
        (self._directory / name).unlink(missing_ok=True)

    @contextmanager
    def taken(self, name: str) -> Iterator[BinaryIO]:
        """The state's file, which is deleted afterwards. Raises Failed if it was fetched or has expired."""
        self.remove_expired()
        if (kept := self._kept.pop(name, None)) is None:
            raise Failed("NOT_FOUND", "the KV state was fetched before, or has expired", code="state_not_found")
        try:
            with kept.file.open("rb") as file:
                yield file
        finally:
            kept.file.unlink(missing_ok=True)

    def remove_expired(self) -> None:
        now = self._clock.monotonic()
        for name in [name for name, kept in self._kept.items() if kept.expires_at <= now]:
            self.discard(name)
