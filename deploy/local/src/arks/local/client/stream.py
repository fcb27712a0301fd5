"""Read the messages of a stream, up to now or without end."""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from arks.kit.bus import NATS_ERRORS
from arks.kit.errors import Unavailable

_NEXT_SECONDS = 5.0


async def read_messages(
    jetstream: JetStreamContext, stream: str, subject: str, since: datetime | None, *, follow: bool
) -> AsyncIterator[Msg]:
    """Yield messages from `since` on, or all; with `follow` without end, else up to now. Raises Unavailable."""
    policy = DeliverPolicy.ALL if since is None else DeliverPolicy.BY_START_TIME
    config = ConsumerConfig(deliver_policy=policy, opt_start_time=since)
    try:
        subscription = await jetstream.subscribe(subject, stream=stream, ordered_consumer=True, config=config)
        info = await subscription.consumer_info()
        # Messages that have arrived already are not pending any more.
        remaining = (info.num_pending or 0) + (info.delivered.consumer_seq if info.delivered else 0)
        try:
            while follow or remaining > 0:
                message = await _next(subscription, follow)
                remaining = message.metadata.num_pending
                yield message
        finally:
            with contextlib.suppress(*NATS_ERRORS):
                await subscription.unsubscribe()
    except NATS_ERRORS as error:
        raise Unavailable(f"cannot read {stream} from NATS: {error or type(error).__name__}") from error


async def _next(subscription: JetStreamContext.PushSubscription, follow: bool) -> Msg:
    while True:
        try:
            return await subscription.next_msg(timeout=_NEXT_SECONDS)
        except nats.errors.TimeoutError:
            if not follow:
                raise
