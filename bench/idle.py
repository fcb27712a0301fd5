"""Measures an idle Arks: memory of each process, CPU over half a minute, and the duration of `arks up`.

usage: uv run python bench/idle.py [seconds]
"""

import sys
import tempfile
import time
from pathlib import Path

from arks.local.testing.harness import ArksHarness
from bench.process_cost import cpu_seconds, resident_megabytes

NOT_PYTHON = {"nats", "valkey", "envoy"}


def measure(platform: ArksHarness, seconds: float) -> None:
    pids = {
        service["name"]: int(service["pid"]) for service in platform.json("status")["services"] if service.get("pid")
    }
    pids["supervisor"] = int((platform.home / "run" / "pid").read_text())
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    print(f"\n{'process':<18}{'RSS MB':>8}{'CPU %':>8}")
    memory = cpu = 0.0
    for name, pid in sorted(pids.items()):
        share = 100 * (cpu_seconds(pid) - before[name]) / seconds
        resident = resident_megabytes(pid)
        if name not in NOT_PYTHON:
            memory, cpu = memory + resident, cpu + share
        print(f"{name:<18}{resident:>8.0f}{share:>8.2f}")
    print(f"{'all of Python':<18}{memory:>8.0f}{cpu:>8.2f}   (target: under 500 MB, under 3 % of a core)")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with tempfile.TemporaryDirectory() as directory:
        platform = ArksHarness(Path(directory))
        try:
            for what in ("first", "warm"):
                began = time.monotonic()
                platform.up()
                print(f"arks up, {what}: model answers after {time.monotonic() - began:.1f} s")
                if what == "first":
                    platform.down()
            time.sleep(5)
            measure(platform, seconds)
        finally:
            platform.down()


if __name__ == "__main__":
    main()
