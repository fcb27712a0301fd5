"""Compares ways to choose the number of replicas, on the same requests, in virtual time.

usage: python -m bench.scaling [--only NAME]... [--seed N] [--explain]

Sides: the decision of Arks' `metrics`, a HorizontalPodAutoscaler on waiting requests, and an oracle that has the fewest
replicas for the rate that comes, without start-up times. Replicas have slots with a queue each; a request goes to the
replica with the fewest. `good` is the share of all requests with a first token within the objective.
"""

import argparse
import math
import time

from bench.scaling.fleet import Fleet
from bench.scaling.loads import ENGINE, SCENARIOS, Arrivals, Request, Scenario
from bench.scaling.scalers import Arks, HorizontalPodAutoscaler, Oracle, Pages, Scaler

STEP_SECONDS, WINDOW_SECONDS = 2.0, 300.0


def main(options: argparse.Namespace) -> None:
    for name, scenario in SCENARIOS.items():
        if options.only and name not in options.only:
            continue
        print(
            f"\n== {name}: {scenario.text}; start-up {scenario.start_seconds:.0f} s, a replica does "
            f"{ENGINE.requests_per_second:.2f} requests/s, objective {ENGINE.objective_seconds:g} s",
            flush=True,
        )
        oracle_hours = 0.0
        for side in ("oracle", "Arks", "HPA"):
            began = time.perf_counter()
            fleet, requests = play(side, scenario, options.seed, options.explain)
            hours = fleet.replica_seconds / 3600
            oracle_hours = oracle_hours or hours
            print(
                line(side, scenario, fleet, requests, hours / oracle_hours),
                f"({time.perf_counter() - began:.0f} s)",
                flush=True,
            )


def play(side: str, scenario: Scenario, seed: int, explain: bool) -> tuple[Fleet, list[Request]]:
    pages = Pages(scenario.fault, scenario.seconds / 2)
    scalers: dict[str, Scaler] = {
        "oracle": Oracle(scenario),
        "Arks": Arks(pages),
        "HPA": HorizontalPodAutoscaler(pages),
    }
    scaler = scalers[side]
    fleet = Fleet(0.0 if side == "oracle" else scenario.start_seconds, scenario.replicas)
    requests = list(Arrivals(scenario, seed))

    def look() -> None:
        changes = len(fleet.changes)
        scaler.look(fleet)
        if explain and isinstance(scaler, Arks) and len(fleet.changes) > changes:
            print(f"    {fleet.now / 3600:6.3f} h {scaler.why} {scaler.memory.capacity}")

    fleet.run(requests, scenario.seconds, scaler.tick_seconds, look)
    return fleet, requests


def line(side: str, scenario: Scenario, fleet: Fleet, requests: list[Request], cost: float) -> str:
    good = sum(request.first_token_seconds <= ENGINE.objective_seconds for request in requests) / len(requests)
    down = sum(by < 0 for _, by in fleet.changes)
    text = (
        f"{side:8} good {good:.4f}  {fleet.replica_seconds / 3600:7.1f} replica-hours ({cost:.2f} of the oracle)  "
        f"{len(fleet.changes) / scenario.seconds * 3600:5.1f} changes/h, {down} down"
    )
    if scenario.fault:
        text += f", {sum(by < 0 and at >= scenario.seconds / 2 for at, by in fleet.changes)} down in the fault"
    if scenario.crowd_at is not None:
        starts = recovery_seconds(requests, scenario.crowd_at) / scenario.start_seconds
        text += f"  within the objective after {starts:.2f} start-up times"
    return text


def recovery_seconds(requests: list[Request], since: float) -> float:
    """From `since` until the requests of the next five minutes hold the objective at the 95th percentile."""
    after = [request for request in requests if request.at >= since]
    for step in range(int((after[-1].at - since - WINDOW_SECONDS) / STEP_SECONDS)):
        begin = since + step * STEP_SECONDS
        window = [request for request in after if begin <= request.at < begin + WINDOW_SECONDS]
        if sum(request.first_token_seconds > ENGINE.objective_seconds for request in window) <= 0.05 * len(window):
            return step * STEP_SECONDS
    return math.inf


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--explain", action="store_true", help="print each change of Arks with its reason")
    return parser.parse_args()


if __name__ == "__main__":
    main(arguments())
