"""The load generator and the engine count and time what they promise."""

import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bench.gateway.load import Load, Native, compile_native, engine, run_load
from bench.gateway.scenarios import FAR, JSON, PACED, Engine, request_bytes

pytestmark = pytest.mark.real


@pytest.fixture
async def native(tmp_path: Path) -> Native:
    return await compile_native(tmp_path)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def start(stack: AsyncExitStack, native: Native, tmp_path: Path, kind: Engine) -> int:
    return await stack.enter_async_context(engine(native.engine, tmp_path / kind.model, *kind.arguments))


async def test_an_open_loop_sends_its_rate(native: Native, stack: AsyncExitStack, tmp_path: Path) -> None:
    port = await start(stack, native, tmp_path, JSON)
    outcome = await run_load(native.load, port, Load(request_bytes(JSON, FAR), connections=8, rate=200), 0.5)
    assert outcome.statuses == {"200": 100}
    assert outcome.failed(frozenset({"200"})) == 0


@pytest.mark.parametrize("rate", [0, 1000])
async def test_it_ends_after_so_many_requests(
    rate: float, native: Native, stack: AsyncExitStack, tmp_path: Path
) -> None:
    port = await start(stack, native, tmp_path, JSON)
    load = Load(request_bytes(JSON, FAR), connections=8, rate=rate, keys=3, most=50)
    outcome = await run_load(native.load, port, load, 30)
    assert outcome.statuses == {"200": 50}
    assert outcome.seconds < 10


async def test_the_engine_counts_what_the_load_generator_receives(
    native: Native, stack: AsyncExitStack, tmp_path: Path
) -> None:
    port = await start(stack, native, tmp_path, Engine("spread", mode="spread"))
    outcome = await run_load(native.load, port, Load(request_bytes(JSON, FAR), connections=4, rate=320), 0.5)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/minutes") as answer:  # noqa: ASYNC210  # nothing else runs
        minutes = json.load(answer)
    assert outcome.statuses["200"] == sum(requests for _, requests, _ in minutes) == 160
    # 12 prompt tokens each, and 1 to 16 completion tokens in turn, ten times
    assert 160 * 12 + 10 * sum(range(1, 17)) == sum(tokens for *_, tokens in minutes)


async def test_first_event_and_gaps_of_a_paced_stream_are_never_early(
    native: Native, stack: AsyncExitStack, tmp_path: Path
) -> None:
    port = await start(stack, native, tmp_path, PACED)
    load = Load(request_bytes(PACED, FAR), connections=8, rate=10, gap_limit_ms=1)
    outcome = await run_load(native.load, port, load, 0.5)
    assert outcome.statuses == {"200": 5}
    assert outcome.first.p50 >= 20
    # 16 events, usage and [DONE] in each: 17 gaps, which have 340 ms together
    assert outcome.latency.p50 >= 20 + 17 * 20
    assert outcome.late_gaps >= 5 * 15


async def test_a_dead_server_fails_the_run(native: Native) -> None:
    with pytest.raises(RuntimeError, match="ended with 1"):
        await run_load(native.load, 1, Load(b"GET / HTTP/1.1\r\nkey: ######\r\n\r\n", connections=1), 0.1)
