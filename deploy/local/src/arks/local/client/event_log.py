"""Read the stream of events, up to now or without end."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from google.protobuf.json_format import MessageToDict, Parse, ParseError
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from arks.contracts import subjects
from arks.events.v1.events_pb2 import ResourceEvent
from arks.local.client.stream import read_messages
from arks.local.render.events import Event


def events_subject(namespace: str | None, name: str | None = None, kind: str | None = None) -> str:
    """Subject of the events about a resource; None: any."""
    parts = (kind, None, namespace, name)
    return ".".join(["arks.events", *("*" if part is None else subjects.encode(part) for part in parts)])


async def read_events(
    stream: JetStreamContext, subject: str, since: datetime | None, *, follow: bool
) -> AsyncIterator[Event]:
    """Yield events from `since` on, or all; with `follow` without end, else up to now. Raises Unavailable."""
    async for message in read_messages(stream, subjects.EVENTS_STREAM, subject, since, follow=follow):
        if (event := _event(message)) is not None:
            yield event


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
