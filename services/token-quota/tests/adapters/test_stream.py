"""The usage stream on a real NATS."""

import pytest

from arks.contracts.subjects import usage_subject
from arks.events.v1.usage_pb2 import UsageRecord, UsageSource
from arks.kit.home import LocalHome
from arks.token_quota.adapters.stream import BusUsageStream
from arks.token_quota.domain.usage import Usage
from arks.token_quota.domain.wire import decode, encode

pytestmark = pytest.mark.real


def record(request_id: str) -> UsageRecord:
    made = UsageRecord(
        request_id=request_id,
        namespace="team.a",
        token="alice",
        endpoint="qwen",
        prompt_tokens=7,
        source=UsageSource.USAGE_SOURCE_ENGINE,
    )
    made.started_at.FromSeconds(1_767_225_600)
    return made


async def test_usage_is_deduplicated_by_request_id_and_delivered_until_acked(home: LocalHome) -> None:
    await home.start()
    for sent in (record("r1"), record("r1"), record("r2")):
        headers = {"Nats-Msg-Id": sent.request_id}
        await home.bus.jetstream.publish(usage_subject(sent.namespace, sent.token), encode(sent), headers=headers)
    received: list[Usage | None] = []
    async for batch in BusUsageStream(home.bus).batches():
        for message in batch:
            received.append(message.usage())
            await message.ack()
        if len(received) >= 2:
            break
    assert [decode(encode(record(request_id))) for request_id in ("r1", "r2")] == received
