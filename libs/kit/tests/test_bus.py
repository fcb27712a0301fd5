"""Facts, events and plain messages over a real NATS server, also after it was killed."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from arks.contracts.subjects import EventKind, Facts
from arks.events.v1.events_pb2 import ResourceEvent
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit import buckets
from arks.kit.bus import Bus
from arks.kit.facts import FactReader, FactWriter
from arks.kit.home import LocalHome
from arks.kit.key import Key
from arks.kit.settings import Settings
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
KEY = Key("team.a", "qwen/7b")


@pytest_asyncio.fixture
async def started(home: LocalHome) -> AsyncIterator[LocalHome]:
    await home.start()
    running = asyncio.create_task(home.outbox.run())
    yield home
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest_asyncio.fixture
async def facts(started: LocalHome) -> AsyncIterator[tuple[FactWriter[ModelFact], FactReader[ModelFact]]]:
    writer: FactWriter[ModelFact] = FactWriter(started.bus, Facts.MODELS)
    reader = FactReader(started.bus, Facts.MODELS, ModelFact)
    tasks = [asyncio.create_task(run()) for run in (writer.run, reader.run)]
    yield writer, reader
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


Pair = tuple[FactWriter[ModelFact], FactReader[ModelFact]]


async def test_a_fact_reaches_its_readers_and_is_deleted_when_removed(facts: Pair) -> None:
    writer, reader = facts
    writer.put(KEY, ModelFact(name="qwen/7b", ready=True))
    written = writer.get(KEY)
    assert written is not None
    assert ModelFact(name="qwen/7b", ready=True, updated_at=written.updated_at) == written
    await eventually(lambda: reader.cache.get(KEY) == written)
    writer.remove(KEY)
    await eventually(lambda: reader.cache.get(KEY) is None)


async def test_facts_are_rewritten_after_the_bucket_was_lost(facts: Pair, started: LocalHome, nats: Server) -> None:
    writer, reader = facts
    writer.put(KEY, ModelFact(name="qwen/7b"))
    writer.complete()
    await eventually(lambda: reader.cache.get(KEY))
    await started.bus.jetstream.delete_stream("KV_arks-models")
    await nats.kill()
    await nats.restart()
    fresh = FactReader(started.bus, Facts.MODELS, ModelFact)
    reading = asyncio.create_task(fresh.run())
    await eventually(lambda: fresh.cache.get(KEY))
    reading.cancel()


async def test_a_silent_watch_starts_over_without_a_fault_in_the_log(
    facts: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "_RELIST_SECONDS", 0.05)
    _, reader = facts
    faults: list[object] = []
    lists: list[object] = []
    load = reader.cache.load

    async def counted(entries: AsyncIterator[Any]) -> None:
        await load(entries)
        lists.append(entries)

    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    monkeypatch.setattr(reader.cache, "load", counted)
    await eventually(lambda: len(lists) > 5)
    gc.collect()
    assert [] == faults


async def test_stale_facts_are_deleted_once_the_owner_has_completed_its_own(started: LocalHome, facts: Pair) -> None:
    writer, reader = facts
    bucket = await started.bus.bucket(Facts.MODELS)
    await bucket.put("default.left-over", b"{}")
    await eventually(lambda: reader.cache.get(Key("default", "left-over")) is not None)
    writer.put(KEY, ModelFact(name="qwen/7b"))
    writer.complete()
    await eventually(lambda: reader.cache.get(Key("default", "left-over")) is None)
    assert reader.cache.get(KEY) is not None


async def test_an_event_waits_for_nats_and_arrives_once(started: LocalHome, nats: Server) -> None:
    await nats.kill()
    for _ in range(2):
        started.outbox.publish_event(EventKind.MODEL, "ready", KEY, ResourceEvent(name="qwen"), event_id="one")
    await nats.restart()
    events = await eventually(lambda: _events(started))
    assert ["one"] == [headers["ce-id"] for headers in events]
    assert {"1.0"} == {headers["ce-specversion"] for headers in events}


async def _events(home: LocalHome) -> list[dict[str, str]]:
    info = await home.bus.jetstream.stream_info("ARKS_EVENTS") if home.bus.connected else None
    if info is None or not info.state.messages:
        return []
    raws = [await home.bus.jetstream.get_msg("ARKS_EVENTS", seq) for seq in range(1, info.state.last_seq + 1)]
    return [dict(raw.headers or {}) for raw in raws]


@asynccontextmanager
async def slow_to_subscribe(port: int, continues: asyncio.Event) -> AsyncIterator[int]:
    """Forward connections to the port, subscriptions and what follows them while `continues` is set. Yields theirs."""
    forwarding: list[asyncio.Task[None]] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, kept: bool) -> None:
        while data := await reader.read(65_536):
            if kept and b"SUB " in data:
                await continues.wait()
            writer.write(data)
        writer.close()
        await writer.wait_closed()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        forwarding.append(asyncio.create_task(copy(reader, server_writer, kept=True)))
        forwarding.append(asyncio.create_task(copy(server_reader, writer, kept=False)))

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.gather(*forwarding, return_exceptions=True)


async def test_a_gathered_subscription_begins_once_the_server_has_it(settings: Settings, nats: Server) -> None:
    continues = asyncio.Event()
    async with slow_to_subscribe(nats.port, continues) as port:
        own = settings.model_copy(update={"nats_url": f"nats://127.0.0.1:{port}"})
        bus = Bus("test", own, CollectorRegistry())
        continues.set()
        await bus.start()
        continues.clear()
        begins = asyncio.create_task(bus.subscribe_gathered("arks.test.>", lambda *_: None, 0.001))
        done, _ = await asyncio.wait([begins], timeout=0.2)
        continues.set()
        await begins
        await bus.stop()
    assert not done


async def test_a_message_reaches_subscribers_also_after_a_reconnect(started: LocalHome, nats: Server) -> None:
    received: list[bytes] = []
    gathered: list[bytes] = []
    await started.bus.subscribe("arks.test.>", received.append)
    await started.bus.subscribe_gathered("arks.test.>", lambda _, payload: gathered.append(payload), 0.001)
    await started.bus.publish("arks.test.a", b"first")
    await eventually(lambda: b"first" in received and b"first" in gathered)
    await nats.kill()
    await started.bus.publish("arks.test.a", b"lost")
    await nats.restart()

    async def published_again() -> bool:
        await started.bus.publish("arks.test.a", b"second")
        return b"second" in received and b"second" in gathered

    await eventually(published_again)
    assert b"lost" not in received + gathered
