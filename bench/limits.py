"""Shows how exact limits are: 4 Envoy workers, 2 token-quota replicas, ten times the allowed load for 3 windows.

usage: python -m bench.limits [windows] [--rpm NUMBER]

Three keys, each with its own engine: one with a limit of requests, one with a limit of tokens whose requests have
max_tokens, and one with a limit of tokens whose requests have none. Answers have 1 to 16 completion tokens, so tokens
are reserved that no request uses and have to return. The engines count what reached them, by UTC minute: a window's
excess is `over`, its rest `under`. A limit of tokens is as large as NUMBER average answers.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import aiohttp
import redis

from arks.endpoint_router.adapters.envoy import Backend, static_cluster
from arks.kit.testing.servers import Server
from arks.kit.testing.wait import eventually
from bench.admitted import MINUTE_MILLISECONDS, Admitted, admitted
from bench.gateway.load import Load, Native, Outcome, compile_native, engine, run_load
from bench.gateway.postgresql import postgresql
from bench.gateway.resources import token
from bench.gateway.scenarios import Engine, request_bytes
from bench.gateway.servers import arks_gateway, stores, token_quota, usage_meter

WORKERS, REPLICAS, OFFERED = 4, 2, 10
WIPED_AT_SECONDS = (2, 30)
CONNECTIONS = 64
"""Enough for each worker to get some: the kernel spreads connections by hash."""
TOKENS = 12 + 8.5
"""Of an average answer: 12 prompt tokens, 1 to 16 completion tokens."""


@dataclass(frozen=True)
class Limit:
    name: str
    kind: str
    """rpm or tpm."""
    max_tokens: bool = True

    @property
    def key_prefix(self) -> str:
        return f"sk-{self.name}-"

    @property
    def engine(self) -> Engine:
        return Engine(self.name, mode="spread")

    def value(self, rpm: int) -> int:
        return rpm if self.kind == "rpm" else int(rpm * TOKENS)

    def load(self, rpm: int) -> Load:
        request = request_bytes(self.engine, self.key_prefix, max_tokens=16 if self.max_tokens else None)
        return Load(request, CONNECTIONS, rate=OFFERED * rpm / 60)


LIMITS = (Limit("rpm", "rpm"), Limit("tpm", "tpm"), Limit("tpm-open", "tpm", max_tokens=False))


@dataclass(frozen=True)
class Window:
    """What reached an engine in a minute."""

    minute: int
    requests: int
    tokens: int

    def used(self, kind: str) -> int:
        return self.requests if kind == "rpm" else self.tokens


@dataclass(frozen=True)
class System:
    gateway_port: int
    engine_ports: dict[str, int]
    usage_log: Path
    valkey: Server

    def wipe(self) -> None:
        """Delete all counters and leases, as a Redis-compatible server without persistence does when it restarts."""
        with redis.Redis(port=self.valkey.port, password=self.valkey.password) as client:
            client.flushall()


@asynccontextmanager
async def system(directory: Path, native: Native, rpm: int) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        ports = {
            limit.name: await enter(engine(native.engine, directory / f"engine-{limit.name}", *limit.engine.arguments))
            for limit in LIMITS
        }
        clusters = [static_cluster(f"default/{name}", [Backend("127.0.0.1", port)]) for name, port in ports.items()]
        tokens = [
            token(limit.name, f"{limit.key_prefix}000000", [limit.name], {limit.kind: limit.value(rpm)}, quota=None)
            for limit in LIMITS
        ]
        data = await enter(stores(directory, tokens, list(ports)))
        ledger = stack.enter_context(postgresql(directory / "postgresql"))
        replicas = [
            await enter(token_quota(data, f"token-quota-{number}", DATABASE_URL=ledger.url))
            for number in range(REPLICAS)
        ]
        await enter(usage_meter(data, DATABASE_URL=ledger.url))
        gateway, _ = await enter(arks_gateway(data, clusters, [replica.port for replica in replicas], WORKERS))
        yield System(gateway.port, ports, data.directory / "usage.log", data.valkey)


async def windows(port: int) -> list[Window]:
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/minutes") as answer:
        return [Window(*numbers) for numbers in await answer.json()]


async def next_minute() -> int:
    """Wait for the next UTC minute. Returns its number."""
    minute = int(time.time()) // 60 + 1
    await asyncio.sleep(minute * 60 - time.time())
    return minute


async def answers(native: Native, running: System, limit: Limit, rpm: int) -> bool:
    few = replace(limit.load(rpm), connections=1, rate=5)
    return "200" in (await run_load(native.load, running.gateway_port, few, 0.2)).statuses


def report(
    limit: Limit, rpm: int, found: list[Window], outcome: Outcome, requests: Sequence[Admitted]
) -> Iterator[str]:
    value = limit.value(rpm)
    statuses = ", ".join(f"{status}: {number:,}" for status, number in outcome.statuses.items())
    times = "" if limit.max_tokens else ", requests without max_tokens"
    yield f"{limit.kind} {value:,}{times}; {outcome.per_second:,.0f}/s offered; {statuses}"
    for window in found:
        used = window.used(limit.kind)
        over, under = max(0, used - value), max(0, value - used)
        yield (
            f"  minute {window.minute % 1440 // 60:02}:{window.minute % 60:02}  used {used:>9,}"
            f"  over {over:,} ({over / value:.3%})  under {under:,} ({under / value:.3%})"
            f"  without counters {without_counters(requests, limit, window.minute):,}"
        )
    if failed := outcome.failed(frozenset({"200", "429"})):
        yield f"  FAILED {failed} requests"


def without_counters(requests: Sequence[Admitted], limit: Limit, minute: int) -> int:
    """Requests of a window that passed by failure policy: token-quota or Valkey did not answer in time."""
    wanted = (limit.name, minute, False)
    return sum((request.token, request.minute, request.with_counters) == wanted for request in requests)


async def measure(native: Native, running: System, number: int, rpm: int) -> None:
    for limit in LIMITS:
        await eventually(partial(answers, native, running, limit, rpm), within_seconds=60, what=f"{limit.name} answers")
    first = await next_minute()
    before = {limit.name: sum(window.requests for window in await _counted(running, limit)) for limit in LIMITS}
    seconds = 60 * number - 0.5
    loads = [run_load(native.load, running.gateway_port, limit.load(rpm), seconds) for limit in LIMITS]
    outcomes = await asyncio.gather(*loads)
    requests = admitted(running.usage_log)
    for limit, outcome in zip(LIMITS, outcomes, strict=True):
        found = await _counted(running, limit)
        inside = [window for window in found if first <= window.minute < first + number]
        print(*report(limit, rpm, inside, outcome, requests), sep="\n", flush=True)
        reached = sum(window.requests for window in found) - before[limit.name]
        if reached != outcome.statuses.get("200", 0):
            print(f"  FAILED {reached} requests reached the engine")


async def wiped(native: Native, running: System, rpm: int) -> None:
    """One more window, in which Valkey loses its data while a limit is being used, and again once it is used up."""
    minute = await next_minute()
    loads = [run_load(native.load, running.gateway_port, limit.load(rpm), 59.5) for limit in LIMITS]
    running_loads = asyncio.gather(*loads)
    for second in WIPED_AT_SECONDS:
        await asyncio.sleep(minute * 60 + second - time.time())
        running.wipe()
    await running_loads
    requests = admitted(running.usage_log)
    for limit in LIMITS:
        (window,) = [window for window in await _counted(running, limit) if window.minute == minute]
        over = window.used(limit.kind) - limit.value(rpm)
        print(f"{limit.name}: Valkey wiped at {WIPED_AT_SECONDS} s of a window; over {over / limit.value(rpm):.1%}")
        own = [each for each in requests if (each.token, each.minute) == (limit.name, minute)]
        starts = [each.started_milliseconds % MINUTE_MILLISECONDS for each in own]
        for second in WIPED_AT_SECONDS:
            print(f"  {_passed_after(starts, second)}")


def _passed_after(starts: Sequence[int], second: int) -> str:
    """`starts`: milliseconds in the window. Counts up to ten seconds after the wipe."""
    after = [start - second * 1000 for start in starts if 0 <= start - second * 1000 < 10_000]
    last = f", the last one after {max(after)} ms" if after else ""
    return f"after the wipe at {second} s: {len(after)} passed{last}"


async def _counted(running: System, limit: Limit) -> list[Window]:
    return await windows(running.engine_ports[limit.name])


async def main(options: argparse.Namespace) -> None:
    print(
        f"{WORKERS} Envoy workers, {REPLICAS} token-quota replicas, {OFFERED} times the limits, "
        f"{options.windows} windows, {os.cpu_count()} cores"
    )
    with tempfile.TemporaryDirectory() as name:
        native = await compile_native(Path(name))
        async with system(Path(name), native, options.rpm) as running:
            await measure(native, running, options.windows, options.rpm)
            await wiped(native, running, options.rpm)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.limits", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("windows", nargs="?", type=int, default=3, help="minutes (default 3)")
    parser.add_argument("--rpm", type=int, default=1200, help="limit of requests per minute (default 1200)")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
