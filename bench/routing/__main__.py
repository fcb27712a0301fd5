"""Compares Arks' routing with Envoy's own policies, in the same run, through the same Envoy.

usage: python -m bench.routing [--only NAME]... [--seconds N] [--rounds N] [--envoys N] [--arrivals even|poisson]
       [--lengths even|lognormal] [--slots unknown|known] [--slower FACTOR] [--runtime vllm|llamacpp] [--side NAME]...
       [--load PART]... [--explain]

Engines are simulated, load is an open loop, and times count from when a request should have been sent. Arks is the real
endpoint-router and metrics over a real NATS; each of its runs begins with an endpoint of which nothing was measured.
Slots are unknown, as of vLLM without `--max-num-seqs`, or with `--slots known` configured. Everything shares this
machine's cores: `late` is the part of a time to first token for which the load generator itself is responsible.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

from bench.routing.load import Load
from bench.routing.platform import SIDES, generate, platform
from bench.routing.report import HEADER, line
from bench.routing.scenarios import SCENARIOS, Scenario, specs


async def main(options: argparse.Namespace) -> None:
    for name, scenario in SCENARIOS.items():
        if options.only and name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as directory:
            await compare(Path(directory), name, scenario, options)


async def compare(directory: Path, name: str, scenario: Scenario, options: argparse.Namespace) -> None:
    engines = specs(scenario, options.runtime, options.slower)
    capacity = sum(spec.slots / spec.seconds for spec in engines)
    print(f"\n== {name}: {scenario.text}; 100 % is {capacity:.0f} requests/s", HEADER, sep="\n", flush=True)
    async with platform(directory, engines, options.envoys, known_slots=options.slots == "known") as running:
        for number in range(options.rounds):
            for part in options.load or scenario.loads:
                for side in ("Arks", *SIDES):
                    if options.side and side not in options.side:
                        continue
                    cluster = await running.start_endpoint(scenario.endpoint) if side == "Arks" else side
                    changes = asyncio.create_task(scenario.change(running))
                    arrivals = (options.seconds, options.arrivals, number)
                    load = Load(cluster, part * capacity, *arrivals, scenario.prefixes, options.lengths)
                    records = await generate(running, load)
                    changes.cancel()
                    await asyncio.gather(changes, return_exceptions=True)
                    await scenario.restore(running)
                    print(line(f"{part:.0%} {side}", records, len(engines)), flush=True)
                    for text in scenario.details(records, options.seconds):
                        print(f"    {text}", flush=True)
                    if side == "Arks":
                        if options.explain:
                            print(await running.explain(cluster))
                        await running.stop_endpoint(cluster)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--side", action="append", choices=["Arks", *SIDES])
    parser.add_argument("--load", action="append", type=float, help="part of the capacity, instead of the scenario's")
    parser.add_argument("--slower", type=float, default=1.0, help="factor of all times of engines, for busy machines")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a run (default 20)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--envoys", type=int, default=1)
    parser.add_argument("--arrivals", choices=["even", "poisson"], default="even")
    parser.add_argument("--lengths", choices=["even", "lognormal"], default="even", help="of answers")
    parser.add_argument("--slots", choices=["unknown", "known"], default="unknown", help="whether they are configured")
    parser.add_argument("--runtime", choices=["vllm", "llamacpp"], default="vllm", help="whose metrics engines have")
    parser.add_argument("--explain", action="store_true", help="print the router's explanation at the end of a run")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
