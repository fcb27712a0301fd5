"""Each process, killed with kill -9 under steady traffic, restarts, and clients get no wrong answer."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from arks.kit.testing.manifests import application, endpoint, token
from arks.local.files.state import ServiceState
from arks.local.testing.harness import ArksHarness, small_file_model, until
from e2e.support.traffic import CUT, Traffic

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]
KEY, MODEL = "sk-steady-000000", "pair"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def steady(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[ArksHarness, Traffic]]:
    """Arks with one application of two replicas, and continuous traffic."""
    platform = ArksHarness(tmp_path_factory.mktemp("arks"))
    try:
        platform.up("--no-demo")
        platform.apply(
            small_file_model(MODEL),
            application(MODEL, model=MODEL, replicas=2),
            endpoint(MODEL),
            token("steady", KEY, MODEL),
        )
        await until(lambda: _ready(platform) == 2, within_seconds=120, what="two ready replicas")
        async with Traffic(platform.url, KEY, MODEL).running() as traffic:
            await traffic.answers()
            yield platform, traffic
    finally:
        platform.down()


def _ready(platform: ArksHarness) -> int:
    return sum(replica["state"].lower() == "ready" for replica in platform.engines(MODEL))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("service", "may_fail"),
    [
        ("model-manager", set()),
        ("app-deployer", set()),
        ("metrics", set()),
        ("endpoint-router", set()),
        ("usage-shipper", set()),
        ("usage-meter", set()),
        ("nats", set()),
        ("token-quota", {"503"}),
        ("valkey", {"503"}),
        ("envoy", {"no connection", "cut"}),
    ],
)
async def test_a_killed_process_restarts_and_clients_get_no_wrong_answer(
    steady: tuple[ArksHarness, Traffic], service: str, may_fail: set[str]
) -> None:
    platform, traffic = steady
    killed_at = time.monotonic()
    old = await asyncio.to_thread(platform.kill, service)

    def back() -> bool:
        found = platform.service(service)
        return found.pid != old and found.state is ServiceState.READY

    await until(back, within_seconds=120, what=f"{service} back")
    await traffic.answers()
    seen = traffic.since(killed_at)
    assert set(seen) <= {"ok"} | may_fail, f"{service}: {seen}"
    print(f"\n{service}: {dict(seen)}, longest gap {traffic.longest_gap_seconds(killed_at):.2f} s")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_engine_cuts_only_its_own_requests(steady: tuple[ArksHarness, Traffic]) -> None:
    platform, traffic = steady
    await until(lambda: _ready(platform) == 2, within_seconds=120, what="two ready replicas")
    victim = platform.engines(MODEL)[0]
    before = time.monotonic()
    _kill_engine(platform, victim["name"])
    killed_at = time.monotonic()

    def restarted() -> bool:
        now = {replica["name"]: replica for replica in platform.engines(MODEL)}
        return bool(now[victim["name"]]["restarts"] > victim["restarts"] and _ready(platform) == 2)

    await until(restarted, within_seconds=120, what="the engine back")
    await traffic.answers()
    carried = [fault for fault in traffic.faults(before) if fault.what == CUT and fault.began < killed_at]
    assert len(carried) <= traffic.connections
    assert carried == traffic.faults(before)
    print(f"\nengine: {dict(traffic.since(killed_at))}, longest gap {traffic.longest_gap_seconds(killed_at):.2f} s")


def _kill_engine(platform: ArksHarness, replica: str) -> None:
    """Kills the engine process of one replica."""
    state = json.loads(next(Path(platform.home / "engines").rglob(f"{replica}/state.json")).read_text())
    os.kill(state["pid"], signal.SIGKILL)
