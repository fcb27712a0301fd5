"""The usage stream on the bus, as metering takes it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import structlog
from google.protobuf.json_format import ParseError
from nats.aio.msg import Msg

from arks.events.v1.usage_pb2 import UsageRecord
from arks.kit.bus import NATS_ERRORS, Bus, parse_usage
from arks.token_quota.service.metering import UsageMessage, is_usable

log = structlog.get_logger(__name__)

DURABLE = "token-quota-ledger"
BATCH_RECORDS = 500
"""In one transaction of the ledger."""


@dataclass(frozen=True, slots=True)
class BusUsageMessage:
    message: Msg

    def record(self) -> UsageRecord | None:
        try:
            record = parse_usage(self.message)
        except (ParseError, ValueError):
            record = None
        if record is None or not is_usable(record):
            log.warning("usage record not understood: dropped", subject=self.message.subject)
            return None
        return record

    async def ack(self) -> None:
        """An acknowledgement that is lost brings the record again, and the ledger knows it then."""
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
