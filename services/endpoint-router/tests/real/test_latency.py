"""Latency and cost of the router with a real Envoy and a real NATS. Prints the measurements (`pytest -s`).

Limits apply only to figures that a busy machine does not change: medians, and CPU time.
"""

import asyncio
import json
import os
import statistics
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.subjects import RESOURCES_BUCKET, Facts, fact_key, resource_key
from arks.endpoint_router.adapters.xds import ENDPOINT, ConfigSnapshot
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.bus import to_json
from arks.kit.testing.wait import eventually

pytestmark = pytest.mark.real
Platform = Any  # of conftest.py, which cannot be imported
ROUNDS = 150
ENDPOINTS = 1_000


class Acknowledgements:
    """A future of Envoy's next acknowledgement of endpoints."""

    def __init__(self, snapshot: ConfigSnapshot) -> None:
        self._snapshot = snapshot
        self._accepted = snapshot.accept
        self.next: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        snapshot.accept = self._note  # type: ignore[method-assign]

    def _note(self, type_: str, name: str, revision: int) -> None:
        self._accepted(type_, name, revision)
        if type_ == ENDPOINT and not self.next.done():
            self.next.set_result(None)

    async def seconds(self, change: Awaitable[None]) -> float:
        """Return the time from the start of the change to the acknowledgement."""
        self.next = asyncio.get_running_loop().create_future()
        start = time.perf_counter()
        await change
        async with asyncio.timeout(30):
            await self.next
        return time.perf_counter() - start


def show(what: str, seconds: list[float]) -> float:
    """Print p50 and p99; return p50, in milliseconds."""
    ordered = sorted(1000 * value for value in seconds)
    p50, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    print(f"{what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {ordered[-1]:.1f} ms")  # noqa: T201
    return p50


async def test_changes_reach_envoy_within_50_milliseconds(platform: Platform) -> None:
    engines = [await platform.engine() for _ in range(3)]
    ports = [engine.port for engine in engines]
    await platform.apply("chat")
    await platform.report("chat", ports)
    router = await platform.router()
    await platform.envoy()
    await eventually(lambda: router.snapshot.was_accepted(ENDPOINT, "default/chat"), what="Envoy has it")
    acknowledgements = Acknowledgements(router.snapshot)

    async def fact(number: int) -> float:
        return await acknowledgements.seconds(platform.report("chat", ports[: 2 + number % 2]))

    async def load(number: int) -> float:
        waiting = 0 if number % 2 else 8  # the slow replica has a queue in every second report
        return await acknowledgements.seconds(platform.load("chat", 8.0, 2.0, waiting=waiting))

    facts = [await fact(number) for number in range(ROUNDS)]
    await platform.report("chat", ports[:2])
    await platform.report_drain_rates("chat", 8.0, 2.0)
    loads = [await load(number) for number in range(ROUNDS)]
    fact_p50 = show("fact published -> Envoy acknowledged", facts)
    load_p50 = show("load published -> Envoy acknowledged", loads)
    assert fact_p50 < 50
    assert load_p50 < 50


async def test_a_thousand_endpoints_reach_a_new_envoy_within_seconds(platform: Platform) -> None:
    await platform.report("m0", [9000])
    await platform.apply("m0")
    facts = await platform.home.bus.bucket(Facts.REPLICAS)
    resources = await platform.home.bus.bucket(RESOURCES_BUCKET)
    for number in range(ENDPOINTS):
        name, host = f"m{number}", f"127.0.{1 + number // 250}.{number % 250}"
        members = [ReplicaFact(f"{name}-{n}", host, 9000 + n, ReplicaState.READY).to_message() for n in range(8)]
        fact = ReplicasFact(namespace="default", application=name, served_model=name, replicas=members)
        await facts.put(fact_key("default", name), to_json(fact))
        manifest = {"metadata": {"name": name, "namespace": "default", "generation": 1}, "spec": {}}
        await resources.put(resource_key("arksendpoints", "default", name), json.dumps(manifest).encode())

    begun = time.perf_counter()
    router = await platform.router_process()
    started = time.perf_counter() - begun
    begun = time.perf_counter()
    envoy = await platform.envoy()

    async def complete() -> bool:
        # A cluster is active before its replicas have arrived.
        if await platform.stat("cluster_manager.active_clusters") < ENDPOINTS + 2:
            return False
        return bool(await platform.hosts_of_all("default/m") == 8 * ENDPOINTS)

    await eventually(complete, what="Envoy has all clusters and their replicas")
    synced = time.perf_counter() - begun
    print(  # noqa: T201
        f"{ENDPOINTS} endpoints x 8 replicas: router ready after {started:.2f} s; Envoy from its start {synced:.2f} s; "
        f"router {resident_mib(router.process.pid):.0f} MiB, Envoy {resident_mib(envoy.process.pid):.0f} MiB"
    )


async def test_an_idle_router_costs_little(platform: Platform) -> None:
    """One endpoint, two replicas, four load reports a second."""
    await platform.apply("chat")
    await platform.report("chat", [9000, 9001])
    router = await platform.router_process()
    await platform.envoy()
    before, begun = cpu_seconds(router.process.pid), time.perf_counter()
    for _ in range(20):
        await platform.load("chat", 4.0, 4.0)
        await asyncio.sleep(0.25)
    share = (cpu_seconds(router.process.pid) - before) / (time.perf_counter() - begun)
    resident = resident_mib(router.process.pid)
    print(f"router: {100 * share:.2f} % of a core, {resident:.0f} MiB")  # noqa: T201
    assert share < 0.05
    assert resident < 120


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
