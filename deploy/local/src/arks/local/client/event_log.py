"""Read the stream of events, up to now or without end."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import nats.errors
from google.protobuf.json_format import MessageToDict, Parse, ParseError
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy

from arks.contracts import subjects
from arks.events.v1.events_pb2 import ResourceEvent
from arks.kit.bus import NATS_ERRORS
from arks.kit.errors import Unavailable
from arks.local.render.events import Event

_NEXT_SECONDS = 5.0


def events_subject(namespace: str | None, name: str | None = None, kind: str | None = None) -> str:
    """Subject of the events about a resource; None: any."""
    parts = (kind, None, namespace, name)
    return ".".join(["arks.events", *("*" if part is None else subjects.encode(part) for part in parts)])


async def read_events(
    stream: JetStreamContext, subject: str, since: datetime | None, *, follow: bool
) -> AsyncIterator[Event]:
    """Yield events from `since` on, or all; with `follow` without end, else up to now. Raises Unavailable."""
    policy = DeliverPolicy.ALL if since is None else DeliverPolicy.BY_START_TIME
    config = ConsumerConfig(deliver_policy=policy, opt_start_time=since)
    try:
        subscription = await stream.subscribe(
            subject, stream=subjects.EVENTS_STREAM, ordered_consumer=True, config=config
        )
        info = await subscription.consumer_info()
        # Messages that have arrived already are not pending any more.
        remaining = (info.num_pending or 0) + (info.delivered.consumer_seq if info.delivered else 0)
        try:
            while follow or remaining > 0:
                message = await _next(subscription, follow)
                remaining = message.metadata.num_pending
                if (event := _event(message)) is not None:
                    yield event
        finally:
            with contextlib.suppress(*NATS_ERRORS):
                await subscription.unsubscribe()
    except NATS_ERRORS as error:
        raise Unavailable(f"cannot read events from NATS: {error or type(error).__name__}") from error


async def _next(subscription: JetStreamContext.PushSubscription, follow: bool) -> Msg:
    while True:
        try:
            return await subscription.next_msg(timeout=_NEXT_SECONDS)
        except nats.errors.TimeoutError:
            if not follow:
                raise


def _event(message: Msg) -> Event | None:
    """None for a message that is not an event of Arks."""
    headers = message.headers or {}
    try:
        data = Parse(message.data, ResourceEvent(), ignore_unknown_fields=True)
        kind, verb, namespace, name = (subjects.decode(part) for part in message.subject.split(".")[2:])
        time = datetime.fromisoformat(headers.get("ce-time") or message.metadata.timestamp.isoformat())
    except (ParseError, ValueError):
        return None
    return Event(
        id=headers.get("ce-id", ""),
        time=time if time.tzinfo else time.replace(tzinfo=UTC),
        type=f"{kind}.{verb}",
        namespace=namespace,
        name=name,
        reason=data.reason,
        message=data.message,
        data=MessageToDict(data),
        source=headers.get("ce-source", "/arks"),
    )
