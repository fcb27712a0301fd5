"""The usage stream on NATS."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import structlog
from nats.aio.msg import Msg

from arks.kit.bus import NATS_ERRORS, Bus
from arks.token_quota.domain.usage import Usage
from arks.token_quota.domain.wire import RecordError, decode
from arks.token_quota.service.ports.usage_stream import UsageMessage

log = structlog.get_logger(__name__)

DURABLE = "token-quota-ledger"
BATCH_RECORDS = 500
"""In one transaction of the ledger."""


@dataclass(frozen=True, slots=True)
class BusUsageMessage:
    message: Msg

    def usage(self) -> Usage | None:
        try:
            return decode(self.message.data)
        except RecordError as error:
            log.warning("usage record dropped", subject=self.message.subject, error=str(error))
            return None

    async def ack(self) -> None:
        """A lost acknowledgement brings the record again; the ledger then adds no entry."""
        try:
            await self.message.ack()
        except NATS_ERRORS as error:
            log.warning("usage record not acknowledged", error=str(error) or type(error).__name__)


@dataclass(frozen=True, slots=True)
class BusUsageStream:
    bus: Bus

    async def batches(self) -> AsyncIterator[Sequence[UsageMessage]]:
        async for batch in self.bus.usage_batches(DURABLE, most=BATCH_RECORDS):
            yield [BusUsageMessage(message) for message in batch]
