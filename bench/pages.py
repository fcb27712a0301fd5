"""What reading many engines costs metrics: processor time, memory, and how many pages a second it reads.

usage: python -m bench.pages [--replicas 500] [--hertz 4] [--page-bytes 100000] [--seconds 20] [--members 1]

A real metrics service over a real NATS, as so many processes (`--members`) that divide the applications; engines are
one process with a port for each replica, and pages as long as vLLM's. One replica more accepts each query and never
answers: it must not delay the others. Of several members the last one is killed at the end; the longest time that an
application was without a report then is printed.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path

import aiohttp
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.subjects import LOAD_SUBJECTS, Facts, fact_key
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.bus import Bus, to_json
from arks.kit.ports import free_port
from arks.kit.testing.servers import nats_server, serve
from arks.metrics.domain.members import GONE_SECONDS
from bench.gateway.resources import NAMESPACE, connected
from bench.process_cost import cpu_seconds, resident_megabytes
from bench.requests import Requests
from bench.routing.platform import service

APPLICATION_REPLICAS = 8
WARM_UP_SECONDS = 10.0


class Engine(Requests):
    """One connection to an engine whose counters move with time; `silent`: it never answers."""

    def __init__(self, padding: bytes, *, silent: bool) -> None:
        self._padding = padding
        self._silent = silent

    def answer(self, head: bytes, body: bytes) -> None:
        if self._silent:
            return
        moved = time.monotonic()
        page = (
            b"vllm:num_requests_running 8\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0.4\n"
            b"vllm:generation_tokens_total %d\nvllm:prompt_tokens_total %d\nvllm:request_success_total %d\n"
        ) % (300 * moved, 900 * moved, 3 * moved) + self._padding
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(page), page))


async def run_engines(ports: list[int], page_bytes: int) -> None:
    line = b'vllm:e2e_request_latency_seconds_bucket{le="0.3",model_name="m"} 1234.0\n'
    padding, loop = line * (page_bytes // len(line)), asyncio.get_running_loop()
    for port in ports:
        engine = partial(Engine, padding, silent=port == ports[-1])
        await loop.create_server(engine, "127.0.0.1", port, backlog=64)
    await asyncio.Event().wait()


async def write_facts(bus: Bus, ports: list[int]) -> None:
    bucket = await bus.bucket(Facts.REPLICAS)
    for first in range(0, len(ports), APPLICATION_REPLICAS):
        name = f"m{first}"
        replicas = [
            ReplicaFact(f"{name}-{number}", "127.0.0.1", port, ReplicaState.READY).to_message()
            for number, port in enumerate(ports[first : first + APPLICATION_REPLICAS])
        ]
        fact = ReplicasFact(namespace=NAMESPACE, application=name, served_model=name, runtime="vllm", replicas=replicas)
        await bucket.put(fact_key(NAMESPACE, name), to_json(fact))


async def counts(client: aiohttp.ClientSession, port: int) -> dict[str, float]:
    async with client.get(f"http://127.0.0.1:{port}/metrics") as answer:
        page = await answer.text()
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    ages = sorted(sample.value for sample in samples if sample.name == "arks_replica_reading_age_seconds")
    reads = sum(sample.value for sample in samples if sample.name == "arks_metrics_read_seconds_count")
    return {"reads": reads, "age": ages[int(0.99 * len(ages))] if ages else float("inf")}


async def main(options: argparse.Namespace) -> None:
    ports = [free_port() for _ in range(options.replicas + 1)]
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (directory / "engines").mkdir()
        line = [sys.executable, "-m", "bench.pages", "--page-bytes", str(options.page_bytes), "--serve"]
        await stack.enter_async_context(serve([*line, ",".join(map(str, ports))], ports[0], directory / "engines"))
        nats = await stack.enter_async_context(nats_server(directory / "nats"))
        bus = await stack.enter_async_context(connected(nats.port))
        client = await stack.enter_async_context(aiohttp.ClientSession())
        await write_facts(bus, ports)
        settings: dict[str, object] = {
            "NATS_URL": f"nats://127.0.0.1:{nats.port}",
            "STATE_DIR": directory,
            "LOG_LEVEL": "warning",
            "LOAD_TICK_SECONDS": 1 / options.hertz,
        }
        members = {}
        for number in range(options.members):
            own, health = directory / str(number), free_port()
            own.mkdir()
            given = settings | {"HTTP_PORT": health}
            members[health] = await stack.enter_async_context(service(own, "metrics", health, given))
        await asyncio.sleep(WARM_UP_SECONDS)
        wanted = options.replicas * options.hertz
        print(
            f"{options.replicas} replicas and a silent one, pages of {options.page_bytes} bytes, {wanted:.0f} reads/s"
        )
        await measure(client, members, options.seconds)
        if len(members) > 1:
            print(f"longest time without a report after a kill: {await kill(bus, list(members.values())[-1]):.2f} s")


async def measure(client: aiohttp.ClientSession, members: dict[int, int], seconds: float) -> None:
    """Print what each member reads in that time and what it costs. `members`: processes by port of their own page."""
    before = [await counts(client, health) for health in members]
    began, cpu = time.monotonic(), [cpu_seconds(pid) for pid in members.values()]
    await asyncio.sleep(seconds)
    costs = [cpu_seconds(pid) - spent for pid, spent in zip(members.values(), cpu, strict=True)]
    seconds = time.monotonic() - began
    for (health, pid), first, cost in zip(members.items(), before, costs, strict=True):
        after = await counts(client, health)
        reads = (after["reads"] - first["reads"]) / seconds
        print(
            f"{reads:.0f} reads/s, {cost / seconds:.0%} of a core, {1e6 * cost / seconds / max(reads, 1e-9):.0f} us a "
            f"read, {resident_megabytes(pid):.0f} MB; age of a reading {after['age']:.2f} s (p99)",
            flush=True,
        )


async def kill(bus: Bus, pid: int) -> float:
    """Kill a member. Returns the longest time until an application has its next report."""
    reported: dict[str, list[float]] = {}

    def take(subject: str, _: bytes) -> None:
        reported.setdefault(subject, []).append(time.monotonic())

    await bus.subscribe_with_subject(LOAD_SUBJECTS, take)
    await asyncio.sleep(1.0)
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(GONE_SECONDS + 5.0)
    return max(later - earlier for times in reported.values() for earlier, later in pairwise(times))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replicas", type=int, default=500)
    parser.add_argument("--hertz", type=float, default=4.0)
    parser.add_argument("--page-bytes", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(run_engines([int(port) for port in arguments.serve.split(",")], arguments.page_bytes))
    else:
        asyncio.run(main(arguments))
