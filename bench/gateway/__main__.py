"""Compares Arks' data path with plain Envoy, in the same run, in alternating order.

usage: python -m bench.gateway [seconds a round] [rounds] [--only NAME]... [--workers NUMBER] [--idle-background]

Both sides are the same listener. Arks has its filter, the real token-quota behind it (1,000 keys with rates, token
rates and a quota, all counted in a real Redis-compatible server) and the usage log with its shipper; plain Envoy has
none of that. The engine and the load are small C programs, so that they do not limit what is measured; they are
compiled when the benchmark starts, which needs a C compiler (`cc`). Everything shares this machine's cores, so quote
the ratios and the CPU per request, not the requests a second. Work that remains after a round (usage that is not yet
shipped, charged and stored) ends before the next round begins, and counts for its own round.
"""

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

from bench.envoy import filter_faults
from bench.gateway.load import compile_native
from bench.gateway.measure import compare
from bench.gateway.report import lines
from bench.gateway.rights import make_background_idle
from bench.gateway.scenarios import SCENARIOS
from bench.gateway.sides import all_systems
from bench.process_cost import resident_megabytes


async def main(options: argparse.Namespace) -> None:
    print(
        f"{options.rounds} rounds of {options.seconds:g} s a side, {options.workers} Envoy worker(s), "
        f"{os.cpu_count()} cores; us: CPU microseconds a request; x: times plain Envoy"
    )
    with tempfile.TemporaryDirectory() as name:
        native = await compile_native(Path(name))
        async with all_systems(Path(name), native, options.workers) as systems:
            if options.idle_background:
                make_background_idle(systems)
            for scenario in SCENARIOS:
                if options.only and scenario.name not in options.only:
                    continue
                found = await compare(native.load, systems, scenario, options.seconds, options.rounds)
                print("", *lines(scenario, found), sep="\n", flush=True)
            print(
                f"\ntoken-quota {resident_megabytes(systems.token_quota_pid):.0f} MB, "
                f"faults of the filter in Envoy's statistics: {await filter_faults(systems.gateway.admin_port)}"
            )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=float, default=3.0, help="length of a round (default 3)")
    parser.add_argument("rounds", nargs="?", type=int, default=3, help="rounds a side (default 3)")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--workers", type=int, default=1, help="Envoy's worker threads (default 1)")
    idle = "what works after the answers runs only while a core is idle"
    parser.add_argument("--idle-background", action="store_true", help=idle)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
