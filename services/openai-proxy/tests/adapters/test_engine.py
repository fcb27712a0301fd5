"""Calls of a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from arks.engine.v1.ark_pb2 import Generation
from arks.kit.ports import free_port
from arks.kit.testing.wait import eventually
from arks.openai_proxy.adapters.connection import CONNECTIONS
from arks.openai_proxy.adapters.engine import GrpcEngine
from arks.openai_proxy.service.completions import Completions
from arks.openai_proxy.service.ports import EngineFailed
from arks.openai_proxy.testing.mock_engine import MODEL, MockEngine, serving

pytestmark = pytest.mark.real


@pytest_asyncio.fixture
async def mock() -> AsyncIterator[tuple[MockEngine, GrpcEngine]]:
    mock = MockEngine()
    async with serving(mock) as port:
        engine = GrpcEngine([f"127.0.0.1:{port}"], timeout_seconds=20.0)
        await engine.start()
        yield mock, engine
        await engine.stop()


async def test_answers_come_whole_and_streamed(mock: tuple[MockEngine, GrpcEngine]) -> None:
    _, engine = mock
    assert [MODEL] == [model.id for model in await engine.models()]
    assert 20 == (await engine.complete(Generation(model=MODEL))).usage.completion_tokens
    kinds = [event.WhichOneof("event") async for event in engine.stream(Generation(model=MODEL))]
    assert ["delta"] * 20 + ["end", "finish"] == kinds


@pytest.mark.parametrize(
    ("model", "status"), [("full", "RESOURCE_EXHAUSTED"), ("unsupported", "UNIMPLEMENTED"), ("garbage", "INTERNAL")]
)
async def test_every_failure_is_engine_failed(model: str, status: str, mock: tuple[MockEngine, GrpcEngine]) -> None:
    _, engine = mock
    with pytest.raises(EngineFailed) as whole:
        await engine.complete(Generation(model=model))
    with pytest.raises(EngineFailed) as streamed:
        [event async for event in engine.stream(Generation(model=model))]
    assert [status] * 2 == [whole.value.status, streamed.value.status]
    assert ("this engine has no logprobs" if model == "unsupported" else None) == (
        whole.value.detail.message if whole.value.detail else None
    )


async def test_a_closed_stream_frees_its_slot(mock: tuple[MockEngine, GrpcEngine]) -> None:
    running, engine = mock
    events = engine.stream(Generation(model="slow"))
    await anext(events)
    assert 1 == running.running
    await events.aclose()
    await eventually(lambda: running.running == 0, what="the slot is free")
    assert 1 == running.ended_early


async def test_a_cancelled_call_frees_its_slot(mock: tuple[MockEngine, GrpcEngine]) -> None:
    running, engine = mock
    call = asyncio.ensure_future(engine.complete(Generation(model="slow")))
    await eventually(lambda: running.running == 1, what="the call began")
    call.cancel()
    await eventually(lambda: running.running == 0, what="the slot is free")


async def test_calls_are_spread_over_connections(mock: tuple[MockEngine, GrpcEngine]) -> None:
    running, engine = mock
    streams = [engine.stream(Generation(model="slow")) for _ in range(2 * CONNECTIONS)]
    for events in streams:
        await anext(events)
    assert CONNECTIONS == len(running.peers)
    for events in streams:
        await events.aclose()


async def test_calls_are_spread_over_engines_and_avoid_one_that_is_away() -> None:
    first, second, away = MockEngine(), MockEngine(), free_port()
    async with serving(first) as first_port, serving(second) as second_port:
        targets = [f"127.0.0.1:{port}" for port in (away, first_port, second_port)]
        engine = GrpcEngine(targets, timeout_seconds=20.0, monotonic=lambda: 0.0)
        await engine.start()
        open_streams = []
        failures = 0
        for _ in range(7):
            events = engine.stream(Generation(model="slow"))
            try:
                await anext(events)
                open_streams.append(events)
            except EngineFailed as error:
                assert "UNAVAILABLE" == error.status
                failures += 1
        assert (1, 3, 3) == (failures, first.running, second.running)
        assert 6 == (await engine.health()).running
        for events in open_streams:
            await events.aclose()
        await engine.stop()


async def test_without_an_engine_the_answer_is_that_it_is_away() -> None:
    engine = GrpcEngine([], timeout_seconds=20.0)
    await engine.start()
    with pytest.raises(EngineFailed, match="UNAVAILABLE"):
        await engine.complete(Generation(model=MODEL))
    with pytest.raises(EngineFailed, match="UNAVAILABLE"):
        await engine.health()
    await engine.stop()


async def test_a_deadline_ends_a_call() -> None:
    async with serving(MockEngine()) as port:
        engine = GrpcEngine([f"127.0.0.1:{port}"], timeout_seconds=0.2)
        await engine.start()
        with pytest.raises(EngineFailed, match="DEADLINE_EXCEEDED"):
            [event async for event in engine.stream(Generation(model="slow"))]
        await engine.stop()


async def test_an_engine_that_comes_up_a_moment_later_answers() -> None:
    """The server starts between the first attempt and the next one."""
    port, mock = free_port(), MockEngine()
    engine = GrpcEngine([f"127.0.0.1:{port}"], timeout_seconds=20.0)
    await engine.start()
    with pytest.raises(EngineFailed, match="UNAVAILABLE"):
        await engine.complete(Generation(model=MODEL))
    async with serving(mock, port):

        async def until_connected(_: float) -> None:
            await asyncio.sleep(0.25)  # longer than the pause before gRPC connects again

        answer = await Completions(engine, sleep=until_connected).complete(Generation(model=MODEL))
        assert 20 == answer.usage.completion_tokens
    await engine.stop()
