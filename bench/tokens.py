"""Measures token-quota with 100,000 tokens, and a flood of random keys through Envoy.

usage: python -m bench.tokens [tokens] [seconds a measurement]

Tokens are written into the bucket of resources of a running token-quota. Before and after, admissions arrive at a fixed
rate and each at token-quota itself, so nothing else is measured. Then a tenant sends requests through Envoy at a fixed
rate, alone and beside a flood of keys that do not exist, each of them another one.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nats.js.kv import KeyValue

from arks.contracts.resources import ArksToken
from arks.contracts.subjects import RESOURCES_BUCKET, resource_key
from arks.endpoint_router.adapters.envoy import Backend, static_cluster
from arks.kit.testing.wait import eventually
from bench.gateway.load import Load, Native, Outcome, compile_native, engine, run_load
from bench.gateway.resources import FAR_RATES, NAMESPACE, connected, token
from bench.gateway.scenarios import FAR, JSON, request_bytes
from bench.gateway.servers import Gateway, Stores, arks_gateway, stores, token_quota, usage_meter
from bench.process_cost import cpu_seconds, resident_megabytes

RATE = 200
CONNECTIONS = 16
FEW = 10
"""Tokens at the start, the keys of the first measurement."""
MANY = 1000
"""Keys of the measurement with all tokens."""
FLOOD_KEYS = 1_000_000
SETTLE_SECONDS = 240
WRITERS = 64


@dataclass(frozen=True)
class System:
    stores: Stores
    gateway: Gateway
    quota_port: int
    quota_pid: int
    meter_pid: int

    def sizes(self) -> str:
        pids = {"token-quota": self.quota_pid, "usage-meter": self.meter_pid, "Envoy": self.gateway.pid}
        return ", ".join(f"{name} {resident_megabytes(pid):,.0f} MB" for name, pid in pids.items())


@asynccontextmanager
async def system(directory: Path, native: Native) -> AsyncIterator[System]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        port = await enter(engine(native.engine, directory / "engine-json", *JSON.arguments))
        clusters = [static_cluster(f"default/{JSON.model}", [Backend("127.0.0.1", port)])]
        data = await enter(stores(directory, [numbered(number) for number in range(FEW)], [JSON.model]))
        admission = await enter(token_quota(data))
        meter = await enter(usage_meter(data))
        gateway, _ = await enter(arks_gateway(data, clusters, [admission.port]))
        yield System(data, gateway, admission.port, admission.process.pid, meter.process.pid)


def numbered(number: int) -> ArksToken:
    return token(f"far-{number}", f"{FAR}{number:06}", [JSON.model], FAR_RATES, quota=None)


# --- tokens


async def write_tokens(nats_port: int, numbers: range) -> None:
    """Write them with their status, as a restored state has them, many at a time and without reading first."""
    async with connected(nats_port) as connection:
        bucket = await connection.bucket(RESOURCES_BUCKET)
        stored = await eventually(partial(_with_status, bucket), within_seconds=60, what="the first token has a status")
        assert stored is not None
        waiting = iter(numbers)

        async def writer() -> None:
            for number in waiting:
                await _write(bucket, number, stored)

        async with asyncio.TaskGroup() as writers:
            for _ in range(WRITERS):
                writers.create_task(writer())


async def _with_status(bucket: KeyValue) -> dict[str, dict[str, object]] | None:
    stored: dict[str, dict[str, object]] = json.loads((await bucket.get(_entry(0))).value or b"")
    return stored if "status" in stored else None


async def _write(bucket: KeyValue, number: int, stored: dict[str, dict[str, object]]) -> None:
    resource = numbered(number)
    metadata = {**stored["metadata"], "name": resource.metadata.name, "uid": f"bench-{number}"}
    spec = {**stored["spec"], "tokenHash": resource.spec.token_hash}
    written = {**stored, "metadata": metadata, "spec": spec}
    await bucket.put(_entry(number), json.dumps(written).encode())


def _entry(number: int) -> str:
    return resource_key(ArksToken.plural, NAMESPACE, f"far-{number}")


async def settled(pid: int) -> float:
    """Wait until the process is idle, at most 240 s. Returns the CPU seconds since its start."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        before = cpu_seconds(pid)
        await asyncio.sleep(1)
        if cpu_seconds(pid) - before < 0.1:
            return cpu_seconds(pid)
    print(f"  token-quota is still busy after {SETTLE_SECONDS} s: what follows is slower for it")
    return cpu_seconds(pid)


# --- load


def admission(keys: int, digits: str = "######") -> Load:
    """Calls as the filter makes them, without a demand for more requests."""
    headers = {
        "host": "bench",
        "authorization": f"Bearer {FAR}{digits}",
        "x-arks-request-id": "bench-######",
        "x-arks-model": JSON.model,
        "x-arks-operation": "chat.completions",
        "x-arks-body-bytes": "120",
        "x-arks-max-tokens": "16",
        "x-arks-stream": "0",
        "x-arks-gateway": "bench-admission",
        "x-arks-demand": "0,0,0",
        "content-length": "0",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return Load(f"POST /v1/admit HTTP/1.1\r\n{head}\r\n".encode(), CONNECTIONS, keys, RATE)


def tenant() -> Load:
    return Load(request_bytes(JSON, FAR), CONNECTIONS, FEW, RATE)


def flood() -> Load:
    return Load(request_bytes(JSON, "sk-flood-"), CONNECTIONS, FLOOD_KEYS)


async def measure(native: Native, port: int, load: Load, seconds: float) -> Outcome:
    outcome = await run_load(native.load, port, load, seconds)
    if failed := outcome.failed(frozenset({"200"})):
        print(f"  FAILED {failed} of {outcome.requests} requests: {outcome.statuses}")
    return outcome


async def answers(native: Native, port: int, load: Load) -> bool:
    return "200" in (await run_load(native.load, port, load, 0.1)).statuses


# --- the run


async def many_tokens(native: Native, running: System, number: int, seconds: float) -> None:
    call = partial(answers, native, running.quota_port, admission(FEW))
    await eventually(call, within_seconds=60, what="token-quota answers")
    before = await measure(native, running.quota_port, admission(FEW), seconds)
    print(f"{FEW:>9,} tokens   admission {_times(before)}; {running.sizes()}", flush=True)
    began, used = time.monotonic(), cpu_seconds(running.quota_pid)
    writing = asyncio.create_task(write_tokens(running.stores.nats.port, range(FEW, number)))
    beside = await measure(native, running.quota_port, admission(FEW), seconds)
    await writing
    wrote = time.monotonic() - began
    print(f"{'':>18}admission {_times(beside)} while they are written", flush=True)
    used = await settled(running.quota_pid) - used
    took = time.monotonic() - began
    print(f"          written in {wrote:.0f} s, token-quota idle after {took:.0f} s and {used:.0f} s of CPU")
    newest = admission(1, f"{number - 1:06}")
    await eventually(partial(answers, native, running.quota_port, newest), within_seconds=60, what="all keys are valid")
    first = replace(admission(MANY), connections=1, rate=0, most=MANY)
    print(f"{'':>18}first use of a key {_times(await measure(native, running.quota_port, first, 60))}")
    after = await measure(native, running.quota_port, admission(MANY), seconds)
    ratio = after.latency.p99 / before.latency.p99
    print(f"{number:>9,} tokens   admission {_times(after)} ({ratio:.2f}x p99), {MANY:,} keys; {running.sizes()}")


async def another_start(native: Native, running: System, number: int) -> None:
    """Start a second token-quota beside the first: all tokens have a status already, as after an upgrade."""
    began = time.monotonic()
    async with token_quota(running.stores, "another") as another:
        newest = admission(1, f"{number - 1:06}")
        call = partial(answers, native, another.port, newest)
        await eventually(call, within_seconds=SETTLE_SECONDS, what="the second token-quota answers")
        took, used = time.monotonic() - began, cpu_seconds(another.process.pid)
        loaded = resident_megabytes(another.process.pid)
        idle = await settled(another.process.pid)
        print(
            f"{'':>18}another start: answers after {took:.0f} s and {used:.0f} s of CPU ({idle:.0f} s until idle); ",
            end="",
        )
        print(f"{loaded:,.0f} MB, then {resident_megabytes(another.process.pid):,.0f} MB", flush=True)


async def random_keys(native: Native, running: System, seconds: float) -> None:
    await eventually(partial(answers, native, running.gateway.port, tenant()), within_seconds=60, what="Envoy answers")
    alone = await measure(native, running.gateway.port, tenant(), seconds)
    print(f"    alone         tenant {_times(alone)}; {running.sizes()}", flush=True)
    for number in (1, 2, 3):
        flooding = asyncio.create_task(run_load(native.load, running.gateway.port, flood(), seconds))
        beside = await measure(native, running.gateway.port, tenant(), seconds)
        flooded = await flooding
        statuses: Sequence[str] = [f"{status}: {count:,}" for status, count in flooded.statuses.items()]
        ratio = beside.latency.p99 / alone.latency.p99
        print(f"    flood {number}       tenant {_times(beside)} ({ratio:.2f}x p99); {running.sizes()}")
        print(f"{'':>18}{flooded.per_second:,.0f} random keys/s; {', '.join(statuses)}", flush=True)


def _times(outcome: Outcome) -> str:
    return f"p50 {outcome.latency.p50:.2f} p99 {outcome.latency.p99:.2f} ms"


async def main(options: argparse.Namespace) -> None:
    print(f"{RATE} requests/s, {options.seconds:g} s a measurement, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        native = await compile_native(Path(name))
        async with system(Path(name), native) as running:
            await many_tokens(native, running, options.tokens, options.seconds)
            await another_start(native, running, options.tokens)
            await random_keys(native, running, options.seconds)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.tokens", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tokens", nargs="?", type=int, default=100_000, help="number of ArksTokens (default 100000)")
    parser.add_argument("seconds", nargs="?", type=float, default=5.0, help="length of a measurement (default 5)")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
