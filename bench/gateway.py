"""Compares Arks' data path with plain Envoy, in the same run, in alternating order.

usage: uv run python bench/gateway.py [seconds a round] [rounds]

Both sides are the same listener with one worker. Arks has its filter, the real token-quota behind it (a key, rates,
token rates and a quota, all counted in a real Redis-compatible server) and the usage log with its shipper; plain
Envoy has none of that. The engine and the load are small C programs, so that they do not limit what is measured;
they are compiled when the benchmark starts, which needs a C compiler (`cc`). Everything shares this machine's
cores, so quote the ratios and the CPU per request, not the requests a second. Work that remains after a round (usage
that is not yet shipped, charged and stored) ends before the next round begins, and counts for its own round.
"""

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from arks.contracts.resources import ArksQuota, ArksToken, Resource, hash_key
from arks.contracts.subjects import Facts, fact_key
from arks.endpoint_router.adapters.envoy import (
    Backend,
    GatewaySettings,
    command,
    listener,
    static_bootstrap,
    static_cluster,
    to_json,
    token_quota_cluster,
)
from arks.endpoint_router.adapters.envoy.listeners import build
from arks.endpoint_router.adapters.envoy.messages import Listener
from arks.endpoint_router.adapters.envoy.routes import GENERATION_PATHS, to_engine
from arks.events.v1.facts_pb2 import EndpointFact
from arks.kit import bus
from arks.kit.ports import free_port
from arks.kit.resources import LocalResources
from arks.kit.settings import Settings
from arks.kit.testing.servers import nats_server, program, serve, valkey_server
from arks.kit.testing.wait import eventually

NATIVE = Path(__file__).parent / "native"
CONNECTIONS = 16
KEY = "sk-benchmark"
PEPPER = "benchmark"
QUIET_SECONDS = 20
CLUSTER_HEADER = "x-bench-cluster"


@dataclass(frozen=True)
class Scenario:
    name: str
    model: str
    chunks: int
    """Number of events with content; 0: a JSON answer."""
    mode: str = "whole"
    """How the engine writes a stream: "whole", or "apart" (an event at a time)."""
    prompt_bytes: int = 40

    @property
    def body(self) -> bytes:
        message = {"role": "user", "content": ("a question " * (self.prompt_bytes // 11 + 1))[: self.prompt_bytes]}
        stream = {"stream": True, "stream_options": {"include_usage": True}} if self.chunks else {}
        return json.dumps({"model": self.model, "max_tokens": 16, **stream, "messages": [message]}).encode()

    @property
    def request(self) -> bytes:
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {KEY}\r\n{CLUSTER_HEADER}: default/{self.model}\r\n"
            f"content-length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


SCENARIOS = (
    Scenario("non-stream", "json", chunks=0),
    Scenario("stream of 16 chunks, written at once", "stream", chunks=16),
    Scenario("stream of 16 chunks, one by one", "apart", chunks=16, mode="apart"),
    Scenario("220 KB prompt", "large", chunks=0, prompt_bytes=220_000),
)


@dataclass(frozen=True)
class Side:
    """One of the two compared systems. Keys of `processes` are the kinds in the output."""

    name: str
    port: int
    processes: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Round:
    requests: int
    failed: int
    per_second: float
    p50_ms: float
    p99_ms: float
    bytes: int
    cpu_us: dict[str, float]
    """Per request, by kind of process."""


# --- processes


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time of all threads of these processes, by the scheduler's clock."""
    threads = [thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


async def compile_native(directory: Path) -> dict[str, Path]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("bench/gateway.py needs a C compiler (cc): its load generator and engine are C programs")
    programs = {}
    for source in sorted(NATIVE.glob("*.c")):
        programs[source.stem] = directory / source.stem
        line = [compiler, "-O2", "-o", str(programs[source.stem]), str(source)]
        process = await asyncio.create_subprocess_exec(*line)
        if await process.wait():
            raise SystemExit(f"{' '.join(line)} failed")
    return programs


async def quiet(side: Side) -> None:
    """Waits until the processes of this side are idle: under a tenth of a core together."""
    pids = [pid for group in side.processes.values() for pid in group]
    for _ in range(int(QUIET_SECONDS / 0.2)):
        before = cpu_seconds(pids)
        await asyncio.sleep(0.2)
        if cpu_seconds(pids) - before < 0.02:
            return
    print(f"  {side.name} is still busy {QUIET_SECONDS} s after its round: the next round is slower for it")


async def measure(load: Path, side: Side, scenario: Scenario, seconds: float) -> Round:
    before = {kind: cpu_seconds(pids) for kind, pids in side.processes.items()}
    process = await asyncio.create_subprocess_exec(
        str(load),
        *(str(side.port), str(CONNECTIONS), str(seconds)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(scenario.request)
    found = json.loads(output)
    await quiet(side)
    requests = max(found["requests"], 1)
    used = {kind: cpu_seconds(pids) - before[kind] for kind, pids in side.processes.items()}
    return Round(
        requests=found["requests"],
        failed=found["failed"],
        per_second=found["requests"] / found["seconds"],
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
        bytes=found["bytes"],
        cpu_us={kind: seconds / requests * 1e6 for kind, seconds in used.items()},
    )


# --- the two sides


def plain_listener(settings: GatewaySettings) -> Listener:
    """The gateway's listener without filter and usage log; a header of the client names the cluster."""
    routes = [
        {"match": {"path": path}, **to_engine({"cluster_header": CLUSTER_HEADER}, settings)}
        for path in GENERATION_PATHS
    ]
    host = {
        "name": "plain",
        "domains": ["*"],
        "request_body_buffer_limit": settings.body_limit_bytes,
        "routes": routes,
    }
    return build(settings, {"name": "plain", "virtual_hosts": [host]}, filters=[], access_log=[])


@asynccontextmanager
async def envoy(directory: Path, gate: Listener, clusters: Sequence[Any]) -> AsyncIterator[tuple[int, int, int]]:
    """Yields (port, admin port, pid)."""
    directory.mkdir()
    port, admin_port = gate.address.socket_address.port_value, free_port()
    config = directory / "envoy.json"
    config.write_text(to_json(static_bootstrap("bench", admin_port, [gate], clusters)))
    async with serve(command(program("envoy"), str(config), workers=1), port, directory) as server:
        yield port, admin_port, server.process.pid


@asynccontextmanager
async def engines(binary: Path, directory: Path) -> AsyncIterator[dict[str, int]]:
    """Runs an engine for each scenario. Yields model -> port."""
    async with AsyncExitStack() as stack:
        ports = {}
        for scenario in SCENARIOS:
            engine_directory = directory / f"engine-{scenario.model}"
            engine_directory.mkdir()
            ports[scenario.model] = port = free_port()
            line = [str(binary), str(port), str(scenario.chunks), scenario.mode]
            await stack.enter_async_context(serve(line, port, engine_directory))
        yield ports


# --- token-quota


def resources() -> list[Resource]:
    """A key whose limits are all counted and never reached."""
    rates = [{"type": kind, "value": 2_000_000_000} for kind in ("rpm", "rpd", "tpm", "tpd")]
    rules = [
        {"arksEndpoint": {"name": scenario.model}, "rateLimits": rates, "quota": {"name": "bench"}}
        for scenario in SCENARIOS
    ]
    quotas = [{"type": kind, "value": 1_000_000_000_000} for kind in ("prompt", "response", "total")]
    token_hash = hash_key(PEPPER.encode(), KEY)
    return [
        ArksToken.from_dict(_manifest("ArksToken", {"tokenHash": token_hash, "qos": rules})),
        ArksQuota.from_dict(_manifest("ArksQuota", {"quotas": quotas})),
    ]


def _manifest(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "bench", "namespace": "default"}
    return {"apiVersion": "arks.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}


async def publish(nats_port: int) -> None:
    """Writes the resources and facts that users and endpoint-router would write."""
    ours = bus.Bus("bench", Settings(nats_url=f"nats://127.0.0.1:{nats_port}"), CollectorRegistry())
    await ours.start()
    for resource in resources():
        await LocalResources(ours, type(resource)).apply(resource)
    bucket = await ours.bucket(Facts.ENDPOINTS.value)
    for scenario in SCENARIOS:
        fact = EndpointFact(namespace="default", name=scenario.model, ready=True)
        await bucket.put(fact_key("default", scenario.model), bus.to_json(fact))
    await ours.stop()


@asynccontextmanager
async def token_quota(directory: Path) -> AsyncIterator[dict[str, Any]]:
    """NATS, a Redis-compatible server and token-quota. Yields its port and the pids of all three."""
    async with nats_server(directory / "nats") as nats, valkey_server(directory / "valkey") as valkey:
        await publish(nats.port)
        port = free_port()
        (directory / "password").write_text(valkey.password)
        (directory / "pepper").write_text(PEPPER)
        environment = {
            "ARKS_NATS_URL": f"nats://127.0.0.1:{nats.port}",
            "ARKS_STATE_DIR": str(directory),
            "ARKS_REDIS_URL": f"redis://127.0.0.1:{valkey.port}",
            "ARKS_REDIS_PASSWORD_FILE": str(directory / "password"),
            "ARKS_API_PORT": str(port),
            "ARKS_LOG_LEVEL": "warning",
        }
        os.environ.update(environment)
        async with service("arks.token_quota.main", port, directory / "token-quota") as pid:
            yield {"port": port, "pid": pid, "valkey": valkey.process.pid, "nats": nats.process.pid}


@asynccontextmanager
async def service(module: str, port: int, directory: Path) -> AsyncIterator[int]:
    """Runs a program of Arks, configured by the environment. Yields its pid."""
    directory.mkdir()
    async with serve([sys.executable, "-m", module], port, directory) as server:
        yield server.process.pid


# --- the run


@asynccontextmanager
async def both_sides(directory: Path, programs: dict[str, Path]) -> AsyncIterator[list[Side]]:
    async with AsyncExitStack() as stack:
        ports = await stack.enter_async_context(engines(programs["engine"], directory))
        clusters = [static_cluster(f"default/{model}", [Backend("127.0.0.1", port)]) for model, port in ports.items()]
        quota = await stack.enter_async_context(token_quota(directory))
        usage_log = str(directory / "usage.log")

        plain = plain_listener(GatewaySettings(usage_log, port=free_port()))
        port, _, pid = await stack.enter_async_context(envoy(directory / "plain", plain, clusters))
        plain_side = Side("plain Envoy", port, {"Envoy": (pid,)})

        gate = listener(GatewaySettings(usage_log, port=free_port()))
        with_quota = [*clusters, token_quota_cluster("127.0.0.1", quota["port"])]
        port, admin_port, pid = await stack.enter_async_context(envoy(directory / "arks", gate, with_quota))
        os.environ.update({"ARKS_USAGE_LOG": usage_log, "ARKS_ENVOY_ADMIN_PORT": str(admin_port)})
        health_port = os.environ["ARKS_HTTP_PORT"] = str(free_port())
        shipper = service("arks.token_quota.programs.shipper", int(health_port), directory / "shipper")
        shipper_pid = await stack.enter_async_context(shipper)
        processes = {
            "Envoy": (pid,),
            "token-quota": (quota["pid"],),
            "shipper": (shipper_pid,),
            "stores": (quota["valkey"], quota["nats"]),
        }
        yield [plain_side, Side("Arks", port, processes)]


async def compare(load: Path, sides: list[Side], scenario: Scenario, seconds: float, rounds: int) -> None:
    for side in sides:
        await eventually(partial(_works, load, side, scenario), within_seconds=60, what=f"{side.name} answers")
    found: dict[str, list[Round]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            found[side.name].append(await measure(load, side, scenario, seconds))
    print_scenario(scenario, found)


async def _works(load: Path, side: Side, scenario: Scenario) -> bool:
    return (await measure(load, side, scenario, 0.2)).failed == 0


def print_scenario(scenario: Scenario, found: dict[str, list[Round]]) -> None:
    plain = statistics.median(measured.per_second for measured in next(iter(found.values())))
    print(f"\n{scenario.name}")
    for name, rounds in found.items():
        rates = [measured.per_second for measured in rounds]
        failed = sum(measured.failed for measured in rounds)
        cpu = ", ".join(
            f"{kind} {statistics.median(measured.cpu_us[kind] for measured in rounds):.0f}" for kind in rounds[0].cpu_us
        )
        print(
            f"  {name:<12}{statistics.median(rates):>9,.0f}/s ({min(rates):,.0f}-{max(rates):,.0f})"
            f"  {statistics.median(rates) / plain:5.2f}x"
            f"  p50 {statistics.median(measured.p50_ms for measured in rounds):6.2f} ms"
            f"  p99 {statistics.median(measured.p99_ms for measured in rounds):6.2f} ms  CPU us a request: {cpu}"
            + (f"  FAILED {failed}" if failed else "")
        )


async def main(seconds: float = 3.0, rounds: int = 3) -> None:
    print(f"{CONNECTIONS} connections, {rounds} rounds of {seconds:g} s a side, 1 Envoy worker, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        programs = await compile_native(directory)
        async with both_sides(directory, programs) as sides:
            for scenario in SCENARIOS:
                await compare(programs["load"], sides, scenario, seconds, rounds)


if __name__ == "__main__":
    asyncio.run(main(*(kind(word) for kind, word in zip((float, int), sys.argv[1:], strict=False))))
