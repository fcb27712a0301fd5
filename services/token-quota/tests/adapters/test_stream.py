"""The usage stream on a real NATS."""

import asyncio
import contextlib

import nats.js.errors
import pytest

from arks.contracts.subjects import USAGE_STREAM, USAGE_SUBJECTS, usage_subject
from arks.kit.errors import Unavailable
from arks.kit.home import LocalHome
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually
from arks.token_quota.adapters import stream as stream_module
from arks.token_quota.adapters.stream import BusUsageStream
from arks.token_quota.domain.batch import UsageBatch
from arks.token_quota.domain.wire import decode
from arks.token_quota.service.ports.usage_stream import UsageMessage
from arks.token_quota.testing.usage import batch, record, started

pytestmark = pytest.mark.real


async def take(home: LocalHome, count: int) -> list[UsageMessage]:
    """The first messages, not acknowledged."""
    found: list[UsageMessage] = []
    async for messages in BusUsageStream(home.bus).messages():
        found += messages
        if len(found) >= count:
            break
    return found


async def acked(messages: list[UsageMessage]) -> list[UsageBatch | None]:
    for message in messages:
        await message.ack()
    return [message.batch() for message in messages]


async def test_a_batch_is_deduplicated_by_its_id(home: LocalHome) -> None:
    await home.start()
    stream = BusUsageStream(home.bus)
    first, second = batch(record("r1"), started=[started("r2")], namespace="team.a"), batch(record("r3"))
    for sent in (first, first, second):
        await stream.publish(sent)
    assert [first, second] == await acked(await take(home, 2))


async def test_batches_that_are_not_acknowledged_come_again(home: LocalHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module._CONSUMER, "ack_wait", 0.2)
    await home.start()
    sent = batch(record())
    await BusUsageStream(home.bus).publish(sent)
    await take(home, 1)
    assert [sent] == await acked(await take(home, 1))


async def test_parts_of_a_flush_that_follow_each_other_are_in_one_transaction(
    home: LocalHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "TRANSACTION_BATCHES", 3)  # so that the test need not wait for the time's end
    monkeypatch.setattr(stream_module, "_GATHER_SECONDS", 5.0)
    await home.start()
    parts = [batch(record(f"r{number}")) for number in range(3)]
    for sent in parts[:2]:
        await BusUsageStream(home.bus).publish(sent)
    taking = asyncio.create_task(take(home, 1))

    async def are_taken() -> bool:
        return await waiting_for_acknowledgement(home) == 2

    await eventually(are_taken, what="the first parts are taken")
    await BusUsageStream(home.bus).publish(parts[2])
    assert parts == await acked(await taking)


async def test_a_batch_that_comes_alone_waits_for_no_other(home: LocalHome) -> None:
    await home.start()
    sent = batch(record())
    await BusUsageStream(home.bus).publish(sent)
    async with asyncio.timeout(1):
        messages = await take(home, 1)
    assert [sent] == await acked(messages)


async def waiting_for_acknowledgement(home: LocalHome) -> int:
    with contextlib.suppress(nats.js.errors.NotFoundError):
        return int((await home.bus.jetstream.consumer_info(USAGE_STREAM, stream_module.DURABLE)).num_ack_pending or 0)
    return 0


async def test_a_batch_is_not_acknowledged_by_a_later_one(home: LocalHome) -> None:
    await home.start()
    for number in (1, 2):
        await BusUsageStream(home.bus).publish(batch(record(f"r{number}")))
    _, second = await take(home, 2)
    assert 2 == await waiting_for_acknowledgement(home)
    await second.ack()

    async def is_acknowledged() -> bool:
        return await waiting_for_acknowledgement(home) < 2

    await eventually(is_acknowledged, what="the acknowledgement has arrived")
    assert 1 == await waiting_for_acknowledgement(home)


async def test_a_consumer_that_was_deleted_is_made_again(home: LocalHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "RETRY_SECONDS", 0.0)
    await home.start()
    first, second = batch(record("r1")), batch(record("r2"))
    await BusUsageStream(home.bus).publish(first)
    taking = asyncio.create_task(take(home, 3))

    async def is_taken() -> bool:
        return await waiting_for_acknowledgement(home) == 1

    await eventually(is_taken, what="the first batch is taken")
    await home.bus.jetstream.delete_consumer(USAGE_STREAM, stream_module.DURABLE)
    await BusUsageStream(home.bus).publish(second)
    assert [first, first, second] == await acked(await taking)


async def test_the_consumer_of_the_first_release_takes_no_message_during_an_upgrade(home: LocalHome) -> None:
    """It goes on where that one was, which is deleted once it is not used any more."""
    await home.start()
    first, second, third = batch(record("r1")), batch(record("r2")), batch(record("r3"))
    for sent in (first, second):
        await BusUsageStream(home.bus).publish(sent)
    before = await home.bus.jetstream.pull_subscribe(
        USAGE_SUBJECTS, durable=stream_module.BEFORE_BATCHES, stream=USAGE_STREAM
    )
    taken = [*await before.fetch(1), *await before.fetch(1)]
    await taken[0].ack_sync()
    waiting = asyncio.create_task(before.fetch(1, timeout=30.0))
    assert [second] == await acked(await take(home, 1))
    await BusUsageStream(home.bus).publish(third)
    assert [third] == [decode(message.data) for message in await waiting]
    assert [third] == await acked(await take(home, 1))

    with pytest.raises(nats.js.errors.NotFoundError):
        await home.bus.jetstream.consumer_info(USAGE_STREAM, stream_module.BEFORE_BATCHES)


async def test_an_acknowledgement_that_is_lost_is_no_error(home: LocalHome) -> None:
    await home.start()
    await BusUsageStream(home.bus).publish(batch(record()))
    messages = await take(home, 1)
    await home.stop()
    await acked(messages)


async def test_a_message_that_is_no_batch_does_not_stop_the_next(home: LocalHome) -> None:
    await home.start()
    await home.bus.jetstream.publish(usage_subject("team"), b'{"id":"without namespace"}')
    sent = batch(record())
    await BusUsageStream(home.bus).publish(sent)
    assert [None, sent] == await acked(await take(home, 2))


async def test_a_batch_that_cannot_be_published_is_an_error(
    home: LocalHome, nats: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "_PUBLISH_SECONDS", 0.2)
    await home.start()
    await nats.kill()
    with pytest.raises(Unavailable, match="usage stream"):
        await BusUsageStream(home.bus).publish(batch(record()))
