"""Rounds of a scenario, and what each cost."""

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from arks.kit.testing.wait import eventually
from bench.gateway.load import Outcome, run_load
from bench.gateway.scenarios import Scenario
from bench.gateway.sides import ARKS, ENGINE, Side, Systems

QUIET_SECONDS = 20
"""Longest wait for the work that remains after a round."""


@dataclass(frozen=True)
class Round:
    outcome: Outcome
    cpu_us: dict[str, float]
    """Per request, by kind of process."""
    store_calls: float
    """Per request."""


async def compare(
    load: Path, systems: Systems, scenario: Scenario, seconds: float, rounds: int
) -> dict[str, list[Round]]:
    """Measure the sides in alternating order. Returns name of the side -> its rounds.

    The engine by itself is measured only in open loops: it shows which part of a latency is not the gateway's.
    """
    sides = [side for side in systems.sides if side.name != ENGINE or scenario.rate]
    for side in sides:
        await eventually(partial(_works, load, side, scenario), within_seconds=60, what=f"{side.name} answers")
        await use_all_keys(load, side, scenario)
        await quiet(side)
    found: dict[str, list[Round]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            found[side.name].append(await measure(load, systems, side, scenario, seconds))
    return found


async def use_all_keys(load: Path, side: Side, scenario: Scenario) -> None:
    """The first request of a key makes its counters from the ledger, once a day: not what a round is to measure."""
    if scenario.keys > 1:
        once = replace(scenario.load, rate=0, most=scenario.keys)
        await run_load(load, side.ports[scenario.engine.model], once, 60)


async def measure(load: Path, systems: Systems, side: Side, scenario: Scenario, seconds: float) -> Round:
    """Work that remains after the load (usage to ship, to charge and to store) counts for its round."""
    calls = await systems.stores.calls()
    before = side.cpu_seconds()
    outcome = await run_load(load, side.ports[scenario.engine.model], scenario.load, seconds)
    await quiet(side)
    used = side.cpu_seconds()
    requests = max(outcome.requests, 1)
    made = await systems.stores.calls() - calls if side.name == ARKS else 0
    return Round(outcome, {kind: (used[kind] - before[kind]) / requests * 1e6 for kind in used}, made / requests)


async def quiet(side: Side) -> None:
    """Wait until the processes of this side are idle: under a tenth of a core together."""
    for _ in range(int(QUIET_SECONDS / 0.2)):
        before = sum(side.cpu_seconds().values())
        await asyncio.sleep(0.2)
        if sum(side.cpu_seconds().values()) - before < 0.02:
            return
    print(f"  {side.name} is still busy {QUIET_SECONDS} s after its round: the next round is slower for it")


async def _works(load: Path, side: Side, scenario: Scenario) -> bool:
    outcome = await run_load(load, side.ports[scenario.engine.model], scenario.load, 0.2)
    return outcome.failed(scenario.expected) == 0
