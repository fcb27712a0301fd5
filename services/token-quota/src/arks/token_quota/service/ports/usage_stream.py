"""The stream of usage batches."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from arks.token_quota.domain.batch import UsageBatch


class UsageMessage(Protocol):
    def batch(self) -> UsageBatch | None:
        """None if the message is not a usage batch."""

    async def ack(self) -> None: ...


class UsageStream(Protocol):
    def messages(self) -> AsyncIterator[Sequence[UsageMessage]]:
        """Endless. Each message comes at least once: again until it is acknowledged."""

    async def publish(self, batch: UsageBatch) -> None:
        """Returns when the stream has it. Publishing it again does no harm. Raises Unavailable."""
