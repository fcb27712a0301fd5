"""The stream of usage records."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from arks.token_quota.domain.usage import Usage


class UsageMessage(Protocol):
    def usage(self) -> Usage | None:
        """The usage without its quota. None if the message is not a usage record."""

    async def ack(self) -> None: ...


class UsageStream(Protocol):
    def batches(self) -> AsyncIterator[Sequence[UsageMessage]]:
        """Endless. Each message comes at least once: again until it is acknowledged."""
