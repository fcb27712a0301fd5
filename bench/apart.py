"""Two prefillers and two decoders against four engines that do both, under the same load, one after the other.

Each engine is ark-engine with SmolLM2-135M on one thread. Clients send prompts of different texts, so that no slot has
the beginning of another's, and wait for the whole stream before the next. Goodput counts requests whose first token
came in time and whose gaps between tokens stayed short. All engines share the processors of one machine, so
apart cannot gain throughput, only keep prompts from delaying tokens.
"""

import asyncio
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from arks.kit.ports import free_port
from arks.kit.testing.servers import program, serve, small_model
from arks.kit.testing.wait import eventually

FIRST_TOKEN_SECONDS = 10.0
GAP_SECONDS = 0.5
MODEL = "small"
TOKENS = 32
Side = Callable[[Path], AbstractAsyncContextManager[list[int]]]
_TOPICS = ("rivers", "bridges", "clocks", "gardens", "harbours", "lanterns", "mountains", "weather")


@dataclass
class Seen:
    """One stream: when its chunks came, in seconds from its start."""

    chunks: list[float]

    @property
    def first_seconds(self) -> float:
        return self.chunks[0]

    @property
    def longest_gap_seconds(self) -> float:
        return max((b - a for a, b in itertools.pairwise(self.chunks)), default=0.0)

    @property
    def good(self) -> bool:
        return self.first_seconds <= FIRST_TOKEN_SECONDS and self.longest_gap_seconds <= GAP_SECONDS


def prompt(number: int, words: int) -> str:
    """A text of about `words` tokens that begins differently for each number."""
    topic = _TOPICS[number % len(_TOPICS)]
    return f"Question {number} about {topic}. " + f"The {topic} of town {number} are old. " * (words // 9)


@dataclass(frozen=True)
class RunningEngine:
    port: int
    """Of gRPC."""
    pid: int


@asynccontextmanager
async def engine(
    stack_directory: Path, role: str, prefillers: list[int], *, slots: int = 4
) -> AsyncIterator[RunningEngine]:
    """One engine, once its model is loaded. Its context of 4,096 tokens is shared by the slots."""
    port, http_port = free_port(), free_port()
    directory = stack_directory / f"{role}-{port}"
    directory.mkdir()
    command = [
        *(program("ark-engine"), "--role", role, "--model", str(small_model()), "--served-model-name", MODEL),
        *("--host", "127.0.0.1", "--port", str(port), "--http-port", str(http_port)),
        *("--parallel", str(slots), "--ctx-size", "4096", "--threads", "1", "--prefill-timeout-seconds", "120"),
    ]
    os.environ["PREFILL_NODE_IP"] = ",".join(f"127.0.0.1:{each}" for each in prefillers)
    async with serve(command, port, directory) as server, aiohttp.ClientSession() as http:

        async def ready() -> bool:
            try:
                async with http.get(f"http://127.0.0.1:{http_port}/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(ready, within_seconds=120, what=f"{role} is ready")
        yield RunningEngine(port, server.process.pid)


@asynccontextmanager
async def both(directory: Path) -> AsyncIterator[list[int]]:
    async with AsyncExitStack() as stack:
        yield [(await stack.enter_async_context(engine(directory, "both", []))).port for _ in range(4)]


@asynccontextmanager
async def apart(directory: Path) -> AsyncIterator[list[int]]:
    async with AsyncExitStack() as stack:
        prefillers = [(await stack.enter_async_context(engine(directory, "prefiller", []))).port for _ in range(2)]
        yield [(await stack.enter_async_context(engine(directory, "decoder", prefillers))).port for _ in range(2)]


async def load(url: str, *, clients: int, requests: int, words: int) -> list[Seen]:
    """`clients` that each send the next request when their last stream has ended."""
    numbers = iter(range(requests))
    seen: list[Seen] = []
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(url, timeout=timeout) as http:

        async def client() -> None:
            for number in numbers:
                body = {"model": MODEL, "stream": True, "max_tokens": TOKENS, "temperature": 0}
                messages = [{"role": "user", "content": prompt(number, words)}]
                began = time.perf_counter()
                async with http.post("/v1/chat/completions", json=body | {"messages": messages}) as answer:
                    assert answer.status == 200, await answer.text()
                    lines = [time.perf_counter() - began async for line in answer.content if b'"delta":{"' in line]
                seen.append(Seen(lines))

        await asyncio.gather(*(client() for _ in range(clients)))
    return seen


async def handed_over(url: str) -> tuple[int, int]:
    """Prompts that came from a prefiller, and those whose hand-over failed."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        lines = dict(line.split() for line in (await answer.text()).splitlines() if line.startswith("ark_engine_"))
    names = ("ark_engine_handed_over_prompts_total", "ark_engine_fallback_prompts_total")
    there, failed = (int(float(lines[name])) for name in names)
    return there, failed


def report(name: str, seen: list[Seen], seconds: float, counts: tuple[int, int]) -> None:
    first, gaps = [each.first_seconds for each in seen], [each.longest_gap_seconds for each in seen]
    good = sum(each.good for each in seen)
    print(
        f"{name}: {len(seen) / seconds:.2f} requests/s, goodput {good / seconds:.2f}/s ({good} of {len(seen)}); "
        f"first token p50 {statistics.median(first):.2f} s, longest {max(first):.2f} s; "
        f"longest gap of a stream p50 {statistics.median(gaps) * 1000:.0f} ms, longest {max(gaps) * 1000:.0f} ms; "
        f"{counts[0]} handed over, {counts[1]} fallbacks"
    )


async def compare(*, clients: int, requests: int, words: int) -> None:
    sides: dict[str, Side] = {"4 x both": both, "2 prefillers + 2 decoders": apart}
    print(
        f"\n{clients} clients, {requests} prompts of about {words} tokens, {TOKENS} tokens each; "
        f"good: first token within {FIRST_TOKEN_SECONDS:g} s, no gap above {GAP_SECONDS * 1000:g} ms"
    )
    for name, side in sides.items():
        with tempfile.TemporaryDirectory() as directory:
            async with side(Path(directory)) as targets:
                os.environ["HTTP_FORWARD_GRPC_HOST"] = ",".join(f"127.0.0.1:{port}" for port in targets)
                port = free_port()
                command = [program("uvicorn"), "openai_api_server:app", "--port", str(port), "--no-access-log"]
                async with serve([*command, "--log-level", "warning"], port, Path(directory)):
                    url = f"http://127.0.0.1:{port}"
                    began = time.perf_counter()
                    seen = await load(url, clients=clients, requests=requests, words=words)
                    report(name, seen, time.perf_counter() - began, await handed_over(url))
