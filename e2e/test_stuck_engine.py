"""llama.cpp never answers copies of an empty prompt, and a slot stays busy for as long as the client waits: its page
shows that, and app-deployer replaces the engine.
"""

import asyncio
from pathlib import Path

import httpx
import pytest

from arks.app_deployer.testing.engine_server import engine_server
from arks.contracts.load import STUCK_SECONDS
from arks.kit.testing.wait import eventually
from arks.metrics.domain.engines import Snapshot, reader_of
from arks.metrics.domain.stall import LONGEST_GAP_SECONDS, Stall

pytestmark = pytest.mark.real
ENDLESS = {"prompt": "", "n": 2, "max_tokens": 4}
SHORT = {"prompt": "word", "max_tokens": 1}


async def test_a_slot_that_is_busy_without_a_step_makes_an_engine_stuck(tmp_path: Path) -> None:
    reader = reader_of("llamacpp")
    assert reader is not None
    async with (
        engine_server(tmp_path) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=120) as client,
    ):

        async def snapshot() -> Snapshot:
            return reader.read((await client.get("/metrics")).content)

        async def healthy() -> bool:
            return (await client.get("/health")).status_code == 200

        async def busy() -> bool:
            return (await snapshot()).busy

        await eventually(healthy, what="the model", within_seconds=60)
        endless = asyncio.create_task(client.post("/v1/completions", json=ENDLESS))
        await eventually(busy, what="the slot of the endless request")
        stall, now = Stall(0.0, await snapshot()), 0.0
        while stall.seconds < STUCK_SECONDS:  # each reading stands for two seconds
            now += LONGEST_GAP_SECONDS
            stall = stall.after(await snapshot(), now)
            assert now < 2 * STUCK_SECONDS
        assert 200 == (await client.post("/v1/completions", json=SHORT)).status_code
        assert 0.0 == stall.after(await snapshot(), now + 1).seconds
        endless.cancel()
        await asyncio.gather(endless, return_exceptions=True)
