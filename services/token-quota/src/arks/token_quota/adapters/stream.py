"""The usage stream on NATS."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from arks.contracts import subjects
from arks.kit.bus import NATS_ERRORS, RETRY_SECONDS, Bus
from arks.kit.cache import Unreadable
from arks.kit.errors import Unavailable
from arks.kit.faults import Faults
from arks.token_quota.domain.batch import UsageBatch
from arks.token_quota.domain.wire import decode, encode
from arks.token_quota.service.ports.usage_stream import UsageMessage

log = structlog.get_logger(__name__)

DURABLE = "usage-meter"
BEFORE_BATCHES = "token-quota-ledger"
"""Durable consumer of 0.1.0, whose token-quota cannot read batches and drops them. During an upgrade it runs beside
this version, which therefore reads by a consumer of its own.
"""
TRANSACTION_BATCHES = 50
"""In one transaction of the ledger."""
_ACK_SECONDS = 5.0
"""NATS delivers a batch again if it is not acknowledged within this time, because its reader was killed."""
_POLL_SECONDS = 5.0
_GATHER_SECONDS = 0.1
"""How long a transaction waits for more after its first batch: for the other parts of a large flush, and for what other
gateways flush a moment later. Committing ten costs little more than one.
"""
_LEAST_SECONDS = 0.001
"""NATS' client takes a tenth of a millisecond off a fetch's time, and none may be left over."""
_PUBLISH_SECONDS = 5.0
_CONSUMER = ConsumerConfig(
    durable_name=DURABLE, ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.ALL, ack_wait=_ACK_SECONDS
)


@dataclass(frozen=True, slots=True)
class BusUsageMessage:
    message: Msg
    faults: Faults

    def batch(self) -> UsageBatch | None:
        """None if it cannot be read: it is logged, counted and dropped."""
        found = self.faults.read(subjects.USAGE_STREAM, self.message.subject, lambda: decode(self.message.data))
        return None if isinstance(found, Unreadable) else found

    async def ack(self) -> None:
        """A lost acknowledgement brings the batch again; the ledger then writes nothing."""
        try:
            await self.message.ack()
        except NATS_ERRORS as error:
            log.warning("usage batch not acknowledged", error=str(error) or type(error).__name__)


@dataclass(frozen=True, slots=True)
class BusUsageStream:
    bus: Bus

    async def messages(self) -> AsyncIterator[Sequence[UsageMessage]]:
        """Subscribe again after each reconnect of NATS."""
        async for session in self.bus.sessions():
            try:
                async for batch in self._batches_of(session):
                    yield [BusUsageMessage(message, self.bus.faults) for message in batch]
            except NATS_ERRORS as error:
                log.warning("usage stream", error=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)
                await self.bus.new_session()

    async def publish(self, batch: UsageBatch) -> None:
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS):
                await self.bus.jetstream.publish(
                    subjects.usage_subject(batch.namespace), encode(batch), headers={"Nats-Msg-Id": batch.id}
                )
        except (*NATS_ERRORS, TimeoutError) as error:
            raise Unavailable(f"the usage stream: {error or type(error).__name__}") from error

    async def _batches_of(self, session: int) -> AsyncIterator[list[Msg]]:
        """Raises NATS_ERRORS."""
        config = await _consumer(self.bus.jetstream)
        pull = await self.bus.jetstream.pull_subscribe(
            subjects.USAGE_SUBJECTS, durable=DURABLE, stream=subjects.USAGE_STREAM, config=config
        )
        while self.bus.session_is(session):
            try:
                batch = await pull.fetch(1, timeout=_POLL_SECONDS)
            except (TimeoutError, nats.errors.TimeoutError):
                continue
            yield batch + await _more(pull, TRANSACTION_BATCHES - 1)


async def _consumer(jetstream: JetStreamContext) -> ConsumerConfig:
    """Return the configuration by which the consumer is created if it does not exist: it begins where that of 0.1.0
    ended. Delete that once it is not used any more. Raises NATS_ERRORS.
    """
    try:
        before = await jetstream.consumer_info(subjects.USAGE_STREAM, BEFORE_BATCHES)
    except NotFoundError:
        return _CONSUMER
    with contextlib.suppress(NotFoundError):
        await jetstream.consumer_info(subjects.USAGE_STREAM, DURABLE)
        if not before.num_waiting:
            await jetstream.delete_consumer(subjects.USAGE_STREAM, BEFORE_BATCHES)
        return _CONSUMER
    acknowledged = before.ack_floor.stream_seq if before.ack_floor is not None else 0
    return replace(_CONSUMER, deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=acknowledged + 1)


async def _more(pull: JetStreamContext.PullSubscription, most: int) -> list[Msg]:
    """Up to `most` messages that come within the time of gathering. A fetch ends early with what it finds at once. None
    is cancelled: the messages that it had would come again only after the time of their acknowledgement.
    """
    found: list[Msg] = []
    until = time.monotonic() + _GATHER_SECONDS
    with contextlib.suppress(TimeoutError, nats.errors.TimeoutError):
        while len(found) < most and (remaining := until - time.monotonic()) > _LEAST_SECONDS:
            found += await pull.fetch(most - len(found), timeout=remaining)
    return found
