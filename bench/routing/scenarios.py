"""What is compared: engines, loads, and what happens to engines during a run."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from arks.kit.ports import free_port
from bench.routing.engine import Spec
from bench.routing.platform import Platform
from bench.routing.report import Records

Kind = tuple[int, int, float, float]
"""(replicas, slots, seconds of a request, seconds until its first token)"""

TABLE: tuple[Kind, ...] = ((3, 16, 0.175, 0.021), (1, 4, 0.7, 0.081))


@dataclass(frozen=True)
class Scenario:
    text: str
    kinds: tuple[Kind, ...] = TABLE
    loads: tuple[float, ...] = (0.71, 0.91, 0.96)
    changes: Sequence[tuple[float, dict[str, Any]]] = ()
    """(seconds after the start, what changes at `replicas`)"""
    replicas: tuple[int, ...] = ()
    prefixes: int = 0
    """Of prompts; 0: prompts have nothing in common."""
    cached: int = 0
    """Prefixes in the cache of a replica."""
    prefill_seconds: float = 0.0
    """Of a prefix that is not in it."""
    endpoint: dict[str, Any] = field(default_factory=dict)
    """Spec of Arks' endpoint."""
    watched: dict[int, str] = field(default_factory=dict)
    """Replicas of which the share is printed for each second."""

    async def change(self, platform: Platform) -> None:
        passed = 0.0
        for at, change in self.changes:
            await asyncio.sleep(at - passed)
            passed = at
            for replica in self.replicas:
                await platform.control(replica, **change)

    async def restore(self, platform: Platform) -> None:
        for replica in self.replicas:
            await platform.control(replica, slowdown=1.0, lie="")

    def details(self, records: Records, seconds: float) -> Iterator[str]:
        if self.prefixes:
            replicas = [record["replica"] for record in records if record["replica"] >= 0]
            counts = [replicas.count(replica) for replica in set(replicas)] or [0]
            most = max(counts) * sum(kind[0] for kind in self.kinds) / max(1, len(replicas))
            yield f"the replica with the most requests has {most:.2f} times the mean"
        for replica, name in self.watched.items():
            parts = []
            for half in range(int(2 * seconds)):
                picked = [record["replica"] for record in records if int(2 * record["due"]) == half]
                parts.append(f"{100 * picked.count(replica) / len(picked):.0f}" if picked else "-")
            yield f"{name}, % of the requests of each half second: {' '.join(parts)}"


FAULTS = ("frozen", "zero", "nan", "negative", "absent", "late")


def _lies(kind: str) -> dict[str, Scenario]:
    """Return scenarios in which metrics of all replicas, or of a fast one, are wrong: from the start, or later."""

    def lie(since: float, *replicas: int) -> Scenario:
        who = "all replicas" if len(replicas) > 1 else "one fast replica"
        text = f"metrics of {who} are {kind} from {since:g} s on"
        return Scenario(text, loads=(0.91,), changes=((since, {"lie": kind}),), replicas=replicas)

    return {
        kind: lie(3.0, 0, 1, 2, 3),
        f"cold-{kind}": lie(0.0, 0, 1, 2, 3),
        f"one-{kind}": lie(3.0, 0),
    }


SCENARIOS = {
    "table": Scenario("3 fast replicas (16 slots, 175 ms) and a slow one (4 slots, 700 ms)"),
    "kinds": Scenario(
        "8 replicas of 4 kinds",
        ((2, 8, 0.175, 0.02), (2, 8, 0.2625, 0.03), (2, 4, 0.35, 0.04), (2, 2, 0.7, 0.08)),
    ),
    "slow": Scenario(
        "4 alike replicas (16 slots, 240 ms), one is 4 times slower from 6 s to 12 s",
        ((4, 16, 0.24, 0.021),),
        (0.6,),
        changes=((6.0, {"slowdown": 4.0}), (12.0, {"slowdown": 1.0})),
        replicas=(3,),
        watched={3: "the slow one"},
    ),
    "prefixes": Scenario(
        "4 alike replicas (16 slots, 240 ms), 64 prompts' prefixes of which each caches 24; without it 200 ms more",
        ((4, 16, 0.24, 0.021),),
        (0.4, 0.6),
        prefixes=64,
        cached=24,
        prefill_seconds=0.2,
        endpoint={"affinity": {}},
    ),
    **{name: scenario for kind in FAULTS for name, scenario in _lies(kind).items()},
}


def specs(scenario: Scenario, runtime: str, slower: float) -> list[Spec]:
    return [
        Spec(
            *(free_port(), slots, slower * seconds, slower * first_seconds, runtime),
            cached=scenario.cached,
            prefill_seconds=slower * scenario.prefill_seconds,
        )
        for replicas, slots, seconds, first_seconds in scenario.kinds
        for _ in range(replicas)
    ]
