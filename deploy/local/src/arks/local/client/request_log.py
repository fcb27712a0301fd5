"""Read requests from the stream of usage batches, up to now or without end."""

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime

from google.protobuf.json_format import Parse, ParseError
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from arks.contracts import subjects
from arks.contracts.facts import replica_facts
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.events.v1.usage_pb2 import UsageBatch, UsageRecord, UsageSource
from arks.kit.ports import authority
from arks.local.client.stream import read_messages
from arks.local.render.requests import Request


async def read_requests(
    stream: JetStreamContext, namespace: str | None, since: datetime, *, follow: bool
) -> AsyncIterator[Request]:
    """Yield requests that ended after `since`. Raises Unavailable."""
    subject = f"arks.usage.{'*' if namespace is None else subjects.encode(namespace)}"
    seen: set[str] = set()
    async for message in read_messages(stream, subjects.USAGE_STREAM, subject, since, follow=follow):
        for request in _requests(message):
            if request.id not in seen:
                yield request
        seen = {request.id for request in _requests(message)}  # a batch that is repeated follows the first


def names_by_address(facts: Iterable[ReplicasFact]) -> dict[tuple[str, str], str]:
    """The name of each replica by its namespace and host:port."""
    found = ((fact.namespace, replica) for fact in facts for replica in replica_facts(fact) if replica.host)
    return {(namespace, authority(replica.host, replica.port)): replica.name for namespace, replica in found}


def _requests(message: Msg) -> Iterator[Request]:
    try:
        batch = Parse(message.data, UsageBatch(), ignore_unknown_fields=True)
    except ParseError:
        return
    for record in batch.records:
        yield _request(record, batch.namespace)


def _request(record: UsageRecord, namespace: str) -> Request:
    return Request(
        id=record.request_id,
        started_at=datetime.fromtimestamp(record.started_at_milliseconds / 1000, UTC),
        namespace=namespace,
        token=record.token,
        endpoint=record.endpoint,
        status=record.status_code,
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        first_byte_milliseconds=record.first_byte_milliseconds,
        duration_milliseconds=record.duration_milliseconds,
        replica=record.replica,
        attempts=record.retries + 1 if record.replica else 0,
        source=UsageSource.Name(record.source).removeprefix("USAGE_SOURCE_").lower(),
    )
