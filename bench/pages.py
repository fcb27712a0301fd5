"""What reading many engines costs metrics: processor time, memory, and how many pages a second it reads.

usage: python -m bench.pages [--replicas 500] [--hertz 4] [--page-bytes 100000] [--seconds 20]

A real metrics service over a real NATS; engines are one process with a port for each replica, and pages
as long as vLLM's. One replica more accepts each query and never answers: it must not delay the others.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from arks.contracts.facts import ReplicaFact, ReplicaState
from arks.contracts.subjects import Facts, fact_key
from arks.events.v1.facts_pb2 import ReplicasFact
from arks.kit.bus import Bus, to_json
from arks.kit.ports import free_port
from arks.kit.testing.servers import nats_server, serve
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
        health = free_port()
        settings: dict[str, object] = {
            "NATS_URL": f"nats://127.0.0.1:{nats.port}",
            "STATE_DIR": directory,
            "LOG_LEVEL": "warning",
            "HTTP_PORT": health,
            "LOAD_TICK_SECONDS": 1 / options.hertz,
        }
        pid = await stack.enter_async_context(service(directory, "metrics", health, settings))
        await asyncio.sleep(WARM_UP_SECONDS)
        before, cpu, began = await counts(client, health), cpu_seconds(pid), time.monotonic()
        await asyncio.sleep(options.seconds)
        cost, seconds = cpu_seconds(pid) - cpu, time.monotonic() - began
        after = await counts(client, health)
        reads = (after["reads"] - before["reads"]) / seconds
        print(
            f"{options.replicas} replicas and a silent one, pages of {options.page_bytes} bytes: {reads:.0f} reads/s "
            f"(wanted {options.replicas * options.hertz:.0f}), {cost / seconds:.0%} of a core, "
            f"{1e6 * cost / seconds / reads:.0f} us a read, {resident_megabytes(pid):.0f} MB; "
            f"age of a reading {after['age']:.2f} s (p99)",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replicas", type=int, default=500)
    parser.add_argument("--hertz", type=float, default=4.0)
    parser.add_argument("--page-bytes", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(run_engines([int(port) for port in arguments.serve.split(",")], arguments.page_bytes))
    else:
        asyncio.run(main(arguments))
