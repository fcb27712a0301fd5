"""Compares openai-proxy with gRPC directly, at an engine without a model, and uvicorn with granian.

usage: make bench-proxy BENCH="[--requests 3000] [--server uvicorn|granian] [--memory-only]"
       make bench-proxy BENCH="--apart 24", BENCH="--hand-over 1500": ark-engine with prefill and decode apart

Figures of a busy machine are high; the differences within a run are what counts, and chunks per second of the proxy's
own CPU.
"""

import argparse
import asyncio
import itertools
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from arks.engine.v1.ark_pb2 import Generation
from arks.kit.ports import free_port
from arks.kit.testing.servers import Server, program, serve
from arks.openai_proxy.adapters.engine import GrpcEngine
from arks.openai_proxy.testing.mock_engine import MODEL, MockEngine, serving
from bench.apart import compare
from bench.hand_over import hand_over
from bench.process_cost import cpu_seconds, resident_megabytes

STAMP = re.compile(rb'"content":"([0-9.]+)"')
MESSAGES = [{"role": "user", "content": "Hello!"}]
SERVERS: dict[str, Callable[[int], list[str]]] = {
    "uvicorn": lambda port: [
        *(program("uvicorn"), "openai_api_server:app", "--host", "127.0.0.1", "--port", str(port)),
        *("--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "3700"),
    ],
    "granian": lambda port: [
        *(program("granian"), "openai_api_server:app", "--interface", "asgi", "--host", "127.0.0.1"),
        *("--port", str(port), "--workers", "1", "--no-access-log", "--log-level", "warning"),
    ],
}


@dataclass
class Bench:
    engine: GrpcEngine
    http: aiohttp.ClientSession
    proxy: Server

    @property
    def proxy_pids(self) -> list[int]:
        """The server and its workers."""
        children = Path(f"/proc/{self.proxy.process.pid}/task/{self.proxy.process.pid}/children").read_text()
        return [self.proxy.process.pid, *map(int, children.split())]

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(pid) for pid in self.proxy_pids)

    def resident_megabytes(self) -> float:
        return max(resident_megabytes(pid) for pid in self.proxy_pids)

    async def through(self) -> None:
        """A whole answer through the proxy."""
        async with self.http.post("/v1/chat/completions", json={"model": MODEL, "messages": MESSAGES}) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()

    async def directly(self) -> None:
        await self.engine.complete(Generation(model=MODEL, choices=1))

    async def stream(self, model: str = MODEL) -> list[float]:
        """The times at which the chunks of a stream arrived."""
        body = {"model": model, "messages": MESSAGES, "stream": True}
        async with self.http.post("/v1/chat/completions", json=body) as answer:
            return [time.perf_counter() async for line in answer.content if line.startswith(b"data: {")]

    async def delays(self) -> list[float]:
        """Seconds between the engine and the client, of each chunk of a stream of an engine that stamps its words."""
        body = {"model": MODEL, "messages": MESSAGES, "stream": True}
        async with self.http.post("/v1/chat/completions", json=body) as answer:
            return [
                time.perf_counter() - float(sent[1]) async for line in answer.content if (sent := STAMP.search(line))
            ]

    async def delays_directly(self) -> list[float]:
        events = self.engine.stream(Generation(model=MODEL, choices=1))
        return [time.perf_counter() - float(event.delta.text) async for event in events if event.HasField("delta")]


@asynccontextmanager
async def running(server: str, engine_port: int, directory: Path) -> AsyncIterator[Bench]:
    port = free_port()
    os.environ |= {"HTTP_FORWARD_GRPC_HOST": "127.0.0.1", "HTTP_FORWARD_GRPC_PORT": str(engine_port)}
    engine = GrpcEngine([f"127.0.0.1:{engine_port}"], timeout_seconds=600)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        serve(SERVERS[server](port), port, directory) as proxy,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as http,
    ):
        await engine.start()
        yield Bench(engine, http, proxy)
        await engine.stop()


async def added_latency(bench: Bench, rounds: int = 300) -> None:
    """Whole answers, one at a time, alternately with and without the proxy."""
    times: dict[str, list[float]] = {"directly": [], "through": []}
    for number in range(rounds + 20):
        for name, call in (("directly", bench.directly), ("through", bench.through)):
            began = time.perf_counter()
            await call()
            if number >= 20:
                times[name].append((time.perf_counter() - began) * 1000)
    direct, through = statistics.median(times["directly"]), statistics.median(times["through"])
    print(f"whole answer, p50: {direct:.2f} ms directly, {through:.2f} ms with the proxy, {through - direct:.2f} added")


async def throughput(bench: Bench, streams: int = 32) -> None:
    cpu, began = bench.cpu_seconds(), time.perf_counter()
    chunks = sum(map(len, await asyncio.gather(*(bench.stream() for _ in range(streams)))))
    seconds, spent = time.perf_counter() - began, bench.cpu_seconds() - cpu
    print(
        f"{streams} streams: {chunks / seconds:.0f} chunks/s, {chunks / spent:.0f} per second of the proxy's CPU, "
        f"{spent / chunks * 1e6:.1f} us of CPU a chunk"
    )


async def gaps(bench: Bench, engine: MockEngine, streams: int = 8) -> None:
    """Streams of an engine that generates at intervals, through the proxy and directly at the same time.

    A gap is added where a chunk's way from the engine to the client takes longer than that of the chunk before it.
    """
    engine.stamps = True
    found = await asyncio.gather(
        *(bench.delays() for _ in range(streams)), *(bench.delays_directly() for _ in range(streams))
    )
    engine.stamps = False
    for name, part in (("with the proxy", found[:streams]), ("directly", found[streams:])):
        delays = [delay * 1000 for each in part for delay in each]
        added = [(b - a) * 1000 for each in part for a, b in itertools.pairwise(each)]
        print(
            f"chunks {name}: on their way p50 {statistics.median(delays):.2f} ms, "
            f"p99 {statistics.quantiles(delays, n=100)[98]:.2f} ms; "
            f"gaps added p99 {statistics.quantiles(added, n=100)[98]:.2f} ms, longest {max(added):.2f} ms"
        )


async def many_streams(bench: Bench, engine: MockEngine, streams: int = 500) -> None:
    work = asyncio.gather(*(bench.stream() for _ in range(streams)))
    most = 0
    while not work.done():
        most = max(most, engine.running)
        await asyncio.sleep(0.01)
    whole = sum(len(times) == engine.tokens + 1 for times in await work)
    print(
        f"{streams} streams at once: {whole} whole, at most {most} in the engine, {bench.resident_megabytes():.0f} MB"
    )


async def disconnects(bench: Bench, engine: MockEngine, rounds: int = 20) -> None:
    times = []
    for _ in range(rounds):
        body = {"model": "slow", "messages": MESSAGES, "stream": True}
        answer = await bench.http.post("/v1/chat/completions", json=body)
        await answer.content.readline()
        began = time.perf_counter()
        answer.close()
        while engine.running:  # noqa: ASYNC110  # a measurement, whose steps are 1 ms
            await asyncio.sleep(0.001)
        times.append((time.perf_counter() - began) * 1000)
    print(f"slot free after a disconnect: median {statistics.median(times):.0f} ms, longest {max(times):.0f} ms")


async def memory(bench: Bench, requests: int, at_once: int = 8, marks: int = 10) -> None:
    """The proxy's memory after each tenth of the requests."""
    numbers = iter(range(requests))

    async def client() -> None:
        for number in numbers:
            await (bench.through() if number % 2 else bench.stream())
            if (number + 1) % max(1, requests // marks) == 0:
                print(f"{bench.resident_megabytes():.1f} MB after {number + 1} requests", flush=True)

    print(f"memory, half of the requests streamed, {at_once} at a time")
    await asyncio.gather(*(client() for _ in range(at_once)))


async def measure_memory(server: str, requests: int) -> None:
    async with serving(MockEngine(tokens=5)) as port:
        with tempfile.TemporaryDirectory() as directory:
            async with running(server, port, Path(directory)) as bench:
                await memory(bench, requests)


async def measure(server: str, requests: int) -> None:
    engine = MockEngine(tokens=5)
    async with serving(engine) as port:
        with tempfile.TemporaryDirectory() as directory:
            async with running(server, port, Path(directory)) as bench:
                print(f"\n{server}: {bench.resident_megabytes():.0f} MB")
                await added_latency(bench)
                engine.tokens = 300
                await throughput(bench)
                engine.tokens, engine.interval_seconds = 60, 0.05
                await gaps(bench, engine)
                engine.tokens, engine.interval_seconds = 10, 1.0
                await many_streams(bench, engine)
                engine.tokens, engine.interval_seconds = 5, 0.0
                await disconnects(bench, engine)
                await memory(bench, requests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=3_000, help="of the measurement of memory")
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--server", choices=SERVERS, help="default: both")
    parser.add_argument("--apart", type=int, default=0, metavar="PROMPTS", help="prefill and decode apart, instead")
    parser.add_argument("--hand-over", type=int, default=0, metavar="TOKENS", help="parts of a hand-over, instead")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    if options.apart:
        asyncio.run(compare(clients=8, requests=options.apart, words=120))
        return
    if options.hand_over:
        asyncio.run(hand_over(words=options.hand_over, rounds=3))
        return
    for server in [options.server] if options.server else SERVERS:
        asyncio.run((measure_memory if options.memory_only else measure)(server, options.requests))


if __name__ == "__main__":
    main()
