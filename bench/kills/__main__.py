"""Kills each process of the data path in turn under load, then compares the ledger with the engine, request by request.

usage: python -m bench.kills [requests] [--rate NUMBER] [--pause SECONDS] [--down SECONDS]

Two Envoy workers with the real filter and shipper, two token-quota replicas, NATS, Valkey with an append-only file and
PostgreSQL. A third of the requests stream and a tenth hang up. The engine counts by request id what it generated;
compare.py has the rules. Ends with status 1 if anything differs.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from arks.kit.testing.wait import eventually
from bench.envoy import filter_faults
from bench.kills import ledger
from bench.kills.clients import Clients
from bench.kills.compare import compare, total
from bench.kills.counters import counter_faults
from bench.kills.engine import Generated
from bench.kills.probes import Guard, VisibleUsage, post
from bench.kills.report import lines
from bench.kills.system import (
    LOAD_KEYS,
    MODEL,
    PROBE_KEY,
    RESERVATION_SECONDS,
    SPENT_KEY,
    USED_KEY,
    Kill,
    System,
    kill_in_turn,
    system,
)

SWEEP_SECONDS = 10
SETTLE_SECONDS = RESERVATION_SECONDS + 120
"""Reservations of lost requests are charged; a lease whose answer was lost returns after half a minute."""


async def measure(running: System, options: argparse.Namespace) -> list[str]:
    """Returns the faults."""
    await eventually(lambda: _answers(running), within_seconds=60, what="the gateway answers")
    guards = [Guard(running, SPENT_KEY, "budget used up"), Guard(running, USED_KEY, "limit used up")]
    await asyncio.gather(*(guard.use_up() for guard in guards))
    clients = Clients(running.gateway_port, MODEL, LOAD_KEYS, options.rate)
    visible, kills, stop = VisibleUsage(running), list[Kill](), asyncio.Event()
    visible.known = await visible.requests() or 0
    async with asyncio.TaskGroup() as group:
        group.create_task(kill_in_turn(running, options.pause, options.down, kills, stop))
        group.create_task(visible.run(stop))
        for guard in guards:
            group.create_task(guard.run(stop))
        await clients.run(options.requests)
        stop.set()
    await asyncio.sleep(RESERVATION_SECONDS + SWEEP_SECONDS)  # requests without a lease are in no counter
    faults = await settle(running)
    charges, sums = await ledger.read(running.ledger.url)
    generated = await engine_requests(running)
    findings = compare(clients.outcomes, generated, charges, running.envoy_kills)
    findings.faults.extend(faults + [f"{guard.name}: passed at {guard.passed}" for guard in guards if guard.passed])
    if total(charges.values()) != sums:
        findings.faults.append(f"sums by day {sums} differ from those of the entries {total(charges.values())}")
    if errors := await filter_faults(running.admin_port):
        findings.faults.append(f"{errors} errors of the filter since its last start")
    print(*lines(clients.outcomes, findings, kills, visible.samples, guards), sep="\n", flush=True)
    return findings.faults


async def settle(running: System) -> list[str]:
    """Wait until everything is charged. Returns what is wrong with the counters then."""
    what = "every lease and request settled"
    try:
        await eventually(lambda: _settled(running), within_seconds=SETTLE_SECONDS, what=what)
        return await counter_faults(running)
    except (AssertionError, aiohttp.ClientError) as error:
        return [str(error)]


async def _answers(running: System) -> bool:
    async with aiohttp.ClientSession() as client:
        return await post(client, running, PROBE_KEY) == 200


async def _settled(running: System) -> bool:
    """Polled once a second: no request is open, and all that the engine saw are in the ledger."""
    await asyncio.sleep(1)
    found: Any = await running.usage(namespace="default")
    return bool(found["openReservations"] == 0)


async def engine_requests(running: System) -> dict[str, Generated]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{running.engine_port}/requests") as answer,
    ):
        return {id_: Generated(**found) for id_, found in (await answer.json()).items()}


async def main(options: argparse.Namespace) -> int:
    print(
        f"{options.requests:,} requests at {options.rate:g}/s, a kill every {options.pause:g} s, "
        f"down for {options.down:g} s, {os.cpu_count()} cores",
        flush=True,
    )
    if options.directory is not None:
        return await run(options.directory, options)
    with tempfile.TemporaryDirectory() as name:
        return await run(Path(name), options)


async def run(directory: Path, options: argparse.Namespace) -> int:
    async with system(directory) as running:
        return 1 if await measure(running, options) else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("requests", nargs="?", type=int, default=100_000, help="default 100000")
    parser.add_argument("--rate", type=float, default=300, help="requests a second (default 300)")
    parser.add_argument(
        "--pause", type=float, default=8, help="seconds between a restart and the next kill (default 8)"
    )
    parser.add_argument("--down", type=float, default=1.5, help="seconds until a restart (default 1.5)")
    parser.add_argument("--directory", type=Path, help="an empty directory, which keeps data and logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(arguments())))
