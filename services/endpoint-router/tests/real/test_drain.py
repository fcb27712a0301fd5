"""Termination of a real Envoy, as in its pod: the drain program exits first, then Envoy."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from typing import Any

import pytest

from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
Platform = Any  # of conftest.py, which cannot be imported


async def drainer(platform: Platform, drain_seconds: float) -> asyncio.subprocess.Process:
    """Return the drain program once it waits for SIGTERM."""
    port = platform.settings.envoy_admin_port
    options = [f"--admin-port={port}", "--settle-seconds=0.2", f"--drain-seconds={drain_seconds}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "arks.endpoint_router.programs.drain", *options), stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    assert b"waiting" in await asyncio.wait_for(process.stdout.readline(), 30)
    return process


async def serving(platform: Platform) -> asyncio.Event:
    """One endpoint that answers once the event is set."""
    engine = await platform.engine()
    await platform.apply("chat")
    await platform.report("chat", [engine.port])
    await platform.router()
    await platform.envoy()

    async def answers() -> bool:
        return bool((await platform.post("chat")).status_code == 200)

    await eventually(answers, what="the first answer")
    engine.hold = asyncio.Event()
    return engine.hold  # type: ignore[no-any-return]


async def under_way(platform: Platform) -> bool:
    return bool(await platform.stat("http.gateway.downstream_rq_active"))


async def test_a_request_in_flight_is_answered_before_envoy_stops(platform: Platform) -> None:
    go_on = await serving(platform)
    process = await drainer(platform, drain_seconds=60)
    request = asyncio.create_task(platform.post("chat"))
    await eventually(lambda: under_way(platform), what="the request is in flight")
    process.terminate()
    assert process.stdout is not None
    assert b"draining" in await asyncio.wait_for(process.stdout.readline(), 30)
    await asyncio.sleep(1)  # long enough to see that nothing happens
    assert (None, False) == (process.returncode, request.done())
    go_on.set()
    out, err = await asyncio.wait_for(process.communicate(), 45)
    assert (0, b"") == (process.returncode, err)
    assert b"no request is in flight" in out
    assert 200 == (await request).status_code


async def test_drain_ends_after_its_time_limit(platform: Platform) -> None:
    go_on = await serving(platform)
    process = await drainer(platform, drain_seconds=0.5)
    request = asyncio.create_task(platform.post("chat"))
    await eventually(lambda: under_way(platform), what="the request is in flight")
    process.terminate()
    out, _ = await asyncio.wait_for(process.communicate(), 25)
    assert b"1 requests are still in flight" in out
    assert not request.done()
    go_on.set()
    assert 200 == (await request).status_code
