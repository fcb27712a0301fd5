"""The usage stream on NATS."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from arks.contracts import subjects
from arks.kit.bus import NATS_ERRORS, RETRY_SECONDS, Bus
from arks.token_quota.domain.usage import Usage
from arks.token_quota.domain.wire import RecordError, decode
from arks.token_quota.service.ports.usage_stream import UsageMessage

log = structlog.get_logger(__name__)

DURABLE = "token-quota-ledger"
BATCH_RECORDS = 500
"""In one transaction of the ledger."""
_ACK_SECONDS = 5.0
"""NATS delivers a record again if it is not acknowledged within this time, because its reader was killed."""
_POLL_SECONDS = 5.0
_GATHER_SECONDS = 0.2
"""How long a batch waits for more after its first message: committing 100 costs little more than one."""
_CONSUMER = ConsumerConfig(
    durable_name=DURABLE, ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.ALL, ack_wait=_ACK_SECONDS
)


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
        """Subscribe again after each reconnect of NATS."""
        async for session in self.bus.sessions():
            try:
                async for batch in self._batches_of(session):
                    yield [BusUsageMessage(message) for message in batch]
            except NATS_ERRORS as error:
                log.warning("usage stream", error=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
                await self.bus.new_session()

    async def _batches_of(self, session: int) -> AsyncIterator[list[Msg]]:
        """Raises NATS_ERRORS."""
        pull = await self.bus.jetstream.pull_subscribe(
            subjects.USAGE_SUBJECTS, durable=DURABLE, stream=subjects.USAGE_STREAM, config=_CONSUMER
        )
        while self.bus.session_is(session):
            try:
                batch = await pull.fetch(1, timeout=_POLL_SECONDS)
            except (TimeoutError, nats.errors.TimeoutError):
                continue
            # One long fetch of BATCH_RECORDS would hold back the first message until its time is up.
            with contextlib.suppress(TimeoutError, nats.errors.TimeoutError):
                batch += await pull.fetch(BATCH_RECORDS - 1, timeout=_GATHER_SECONDS)
            yield batch
