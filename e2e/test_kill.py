"""kill -9 of each part, one at a time, under steady traffic: it comes back and clients see no wrong answer."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import openai
import pytest
import pytest_asyncio

from arks.kit.testing.wait import eventually
from arks.local.testing.platform import Platform, application, endpoint, model, token, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]
KEY, MODEL = "sk-steady-000000", "pair"


@dataclass
class Traffic:
    """Requests one after the other on a few connections; each outcome with its time."""

    url: str
    outcomes: list[tuple[float, str]] = field(default_factory=list)

    async def run(self) -> None:
        async with openai.AsyncOpenAI(base_url=self.url, api_key=KEY, max_retries=0, timeout=20) as client:
            await asyncio.gather(*(self._one_after_the_other(client) for _ in range(2)))

    async def _one_after_the_other(self, client: openai.AsyncOpenAI) -> None:
        while True:
            self.outcomes.append((time.monotonic(), await self._ask(client)))
            await asyncio.sleep(0.01)

    async def _ask(self, client: openai.AsyncOpenAI) -> str:
        try:
            answer = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hi"}], max_tokens=2
            )
        except openai.APIConnectionError:
            return "no connection"
        except openai.APIStatusError as error:
            return str(error.status_code)
        return "ok" if answer.choices[0].message.content is not None and answer.usage else "wrong"

    def since(self, moment: float) -> Counter[str]:
        return Counter(outcome for when, outcome in self.outcomes if when >= moment)

    def longest_gap_seconds(self, moment: float) -> float:
        """The longest time without a good answer since `moment`."""
        good = [moment, *(when for when, outcome in self.outcomes if when >= moment and outcome == "ok")]
        return max((later - earlier for earlier, later in pairwise(good)), default=float("inf"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def steady(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Platform, Traffic]]:
    """Arks with one application of two replicas, and traffic that does not stop."""
    platform = Platform(tmp_path_factory.mktemp("arks"))
    platform.up("--no-demo")
    platform.apply(
        model(MODEL), application(MODEL, model=MODEL, replicas=2), endpoint(MODEL), token("steady", KEY, MODEL)
    )
    await until(lambda: _ready(platform) == 2, within_seconds=60, what="two ready replicas")
    traffic = Traffic(platform.url)
    running = asyncio.create_task(traffic.run())
    await _answers(traffic, time.monotonic())
    yield platform, traffic
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    platform.down()


def _ready(platform: Platform) -> int:
    return sum(one["state"].lower() == "ready" for one in platform.engines(MODEL))


async def _answers(traffic: Traffic, since: float, count: int = 20) -> None:
    await eventually(lambda: traffic.since(since)["ok"] >= count, within_seconds=60, what=f"{count} good answers")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("service", "may_fail"),
    [
        ("model-manager", set()),
        ("app-deployer", set()),
        ("metrics", set()),
        ("endpoint-router", set()),
        ("usage-shipper", set()),
        ("nats", set()),
        ("token-quota", {"503"}),
        ("valkey", {"503"}),
        ("envoy", {"no connection"}),
    ],
)
async def test_a_killed_part_comes_back_and_clients_see_no_wrong_answer(
    steady: tuple[Platform, Traffic], service: str, may_fail: set[str]
) -> None:
    platform, traffic = steady
    killed_at = time.monotonic()
    old = await asyncio.to_thread(platform.kill, service)

    def back() -> bool:
        states = {one["name"]: one for one in platform.json("status")["services"]}
        return bool(states[service]["pid"] != old and states[service]["state"] == "ready")

    await until(back, within_seconds=30, what=f"{service} back")
    await _answers(traffic, time.monotonic())
    seen = traffic.since(killed_at)
    assert set(seen) <= {"ok"} | may_fail, f"{service}: {seen}"
    print(f"\n{service}: {dict(seen)}, longest gap {traffic.longest_gap_seconds(killed_at):.2f} s")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_killed_engine_costs_no_error_beyond_what_it_carried(steady: tuple[Platform, Traffic]) -> None:
    platform, traffic = steady
    await until(lambda: _ready(platform) == 2, within_seconds=60, what="two ready replicas")
    killed_at = time.monotonic()
    victim = platform.engines(MODEL)[0]
    _kill_engine(platform, victim["name"])

    def restarted() -> bool:
        now = {one["name"]: one for one in platform.engines(MODEL)}
        return bool(now[victim["name"]]["restarts"] > victim["restarts"] and _ready(platform) == 2)

    await until(restarted, within_seconds=60, what="the engine back")
    await _answers(traffic, time.monotonic())
    assert {"ok"} == set(traffic.since(killed_at)), traffic.since(killed_at)
    print(f"\nengine: {dict(traffic.since(killed_at))}, longest gap {traffic.longest_gap_seconds(killed_at):.2f} s")


def _kill_engine(platform: Platform, replica: str) -> None:
    """The engine of one replica: the process that listens on its port."""
    state = json.loads(next(Path(platform.home / "engines").rglob(f"{replica}/state.json")).read_text())
    os.kill(state["pid"], signal.SIGKILL)
