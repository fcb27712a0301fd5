"""Honest load beside hostile clients: its latency, what it is charged, and Envoy's memory.

usage: python -m bench.hostile [minutes] [--rate RATE] [--idle CONNECTIONS] [--kind KIND]

A third of the time is honest load alone, a third beside hostile clients of another gateway, and a third beside hostile
clients of the same one: slow senders, bodies of 31 MiB that are refused and others that are valid, wrong keys,
hang-ups, rapid resets and connections that never send a byte (bench/hostile/clients.py). The second third is the
control: the same programs send the same bytes to a plain Envoy before the same engines, so what it costs honest clients
is that all share this machine's cores; the rest of the difference is Arks' own. Hostile clients run at the lowest
priority, because elsewhere they have machines of their own.
Exits with 1 for a wrong charge or an unanswered request.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import sys
import tempfile
from pathlib import Path

import aiohttp

from arks.kit.testing.wait import eventually
from bench.envoy import filter_faults
from bench.gateway.load import Outcome, compile_native, run_load
from bench.gateway.scenarios import JSON, Scenario
from bench.gateway.sides import ARKS, PLAIN, Systems, all_systems
from bench.hostile.clients import KINDS
from bench.hostile.report import Charge, Latencies, Memory, report
from bench.process_cost import resident_megabytes

HONEST_TOKEN = "far-0"  # noqa: S105  the name of an ArksToken
CHARGED_SECONDS = 60.0
LATE_SECONDS = 3.0
"""In which a charge too many would arrive."""
POLL_SECONDS = 0.25


async def main(options: argparse.Namespace) -> int:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    seconds = options.minutes * 20
    scenario = Scenario("honest", "non-stream", JSON, connections=64, rate=options.rate)
    with tempfile.TemporaryDirectory() as name:
        native = await compile_native(Path(name))
        async with all_systems(Path(name), native, workers=1) as systems:
            warm = await run_load(native.load, systems.gateway.port, scenario.load, 1)
            alone = await run_load(native.load, systems.gateway.port, scenario.load, seconds)
            plain = next(side for side in systems.sides if side.name == PLAIN).ports[JSON.model]

            async def beside_clients_of(port: int) -> tuple[Outcome, dict[str, int], dict[str, float]]:
                before = _processor_seconds(systems)
                hostile = await _start_hostile(port, seconds, options)
                outcome = await run_load(native.load, systems.gateway.port, scenario.load, seconds)
                output, _ = await asyncio.wait_for(hostile.communicate(), 60)
                used = {name: total - before[name] for name, total in _processor_seconds(systems).items()}
                return outcome, json.loads(output), used

            control, _, _ = await beside_clients_of(plain)
            before = resident_megabytes(systems.gateway.pid)
            most_memory = [before]
            watch = asyncio.create_task(_watch_memory(systems.gateway.pid, most_memory))
            beside, counts, used = await beside_clients_of(systems.gateway.port)
            watch.cancel()
            memory = Memory(before, most_memory[0], resident_megabytes(systems.gateway.pid))
            charge = await _charge(systems, [warm, alone, control, beside])
            print(*report(Latencies(alone, control, beside), counts, memory, charge), sep="\n")
            print("CPU: " + ", ".join(f"{name} {total / seconds:.0%}" for name, total in used.items()))
            print(f"faults of the filter: {await filter_faults(systems.gateway.admin_port)}")
    return 0 if charge.is_right and not beside.failed(scenario.expected) else 1


async def _start_hostile(port: int, seconds: float, options: argparse.Namespace) -> asyncio.subprocess.Process:
    kinds = ",".join(options.kind or KINDS)
    program = ("nice", "-n", "19", sys.executable, "-m", "bench.hostile.clients")
    arguments = (str(port), str(seconds), str(options.idle), kinds)
    return await asyncio.create_subprocess_exec(*program, *arguments, stdout=asyncio.subprocess.PIPE)


def _processor_seconds(systems: Systems) -> dict[str, float]:
    """Of Arks' processes, and of the hostile clients that have ended."""
    own = next(side for side in systems.sides if side.name == ARKS).cpu_seconds()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {**own, "load generator and hostile clients": ended.ru_utime + ended.ru_stime}


async def _watch_memory(pid: int, most_megabytes: list[float]) -> None:
    while True:
        most_megabytes[0] = max(most_megabytes[0], resident_megabytes(pid))
        await asyncio.sleep(POLL_SECONDS)


async def _charge(systems: Systems, loads: list[Outcome]) -> Charge:
    """What the honest key is charged, once it is all there, or as it is after a minute."""
    answered = sum(load.statuses.get("200", 0) for load in loads)
    unknown = sum(load.broken for load in loads)
    charge = Charge(answered, unknown, 0, 0, 0)

    async def is_right() -> bool:
        nonlocal charge
        charge = Charge(answered, unknown, *await _usage(systems.token_quota_port))
        return charge.is_right

    with contextlib.suppress(AssertionError, TimeoutError):
        await eventually(is_right, within_seconds=CHARGED_SECONDS, what="every request charged")
        await asyncio.sleep(LATE_SECONDS)
        await is_right()
    return charge


async def _usage(port: int) -> tuple[int, int, int]:
    """Requests, prompt and completion tokens of the honest token."""
    wanted = {"group_by": "token", "token": HONEST_TOKEN}
    timeout = aiohttp.ClientTimeout(total=10)
    url = f"http://127.0.0.1:{port}/v1/usage"
    async with aiohttp.ClientSession(timeout=timeout) as client, client.get(url, params=wanted) as answer:
        answer.raise_for_status()
        total = (await answer.json())["total"]
    return total["requests"], total["promptTokens"], total["completionTokens"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("minutes", nargs="?", type=float, default=0.5, help="all three parts together (default 0.5)")
    parser.add_argument("--rate", type=float, default=100.0, help="honest requests a second (default 100)")
    parser.add_argument("--idle", type=int, default=2000, help="connections that never send a byte (default 2000)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind of client; repeatable")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
