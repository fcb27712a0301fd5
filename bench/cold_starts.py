"""Compares cold starts of llama.cpp with and without read-ahead, in one run: `spec.loading: auto` against `default`.

usage: python -m bench.cold_starts MODEL.gguf [--rounds N]

Before each start the file's pages are dropped from the page cache (posix_fadvise DONTNEED), so put the model on the
storage to be measured: a copy that another process has mapped stays in memory. A start is timed until /health is 200
and until one token is answered.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from arks.app_deployer.domain.launch import read_ahead
from arks.app_deployer.domain.launch.local_commands import LLAMACPP
from arks.kit.ports import free_port

_SECONDS = 300.0


def drop_pages(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def measure(name: str, model: Path, *, ahead: bool) -> float:
    """Start an engine with a cold file, print its phases. Returns seconds to the first token."""
    port = free_port()
    engine = [*LLAMACPP, "--model", str(model), "--port", str(port), "--ctx-size", "512", "--parallel", "1"]
    command = read_ahead.command(sys.executable, str(model), engine) if ahead else engine
    drop_pages(model)
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/health", process)
            loaded = time.monotonic() - began
            _first_token(f"http://127.0.0.1:{port}/v1/completions")
            total = time.monotonic() - began
        finally:
            process.send_signal(signal.SIGKILL)
    print(
        f"  {name:<18} {loaded:6.2f} s to load  {total - loaded:6.2f} s to the first token  {total:6.2f} s", flush=True
    )
    return total


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.02)
    raise SystemExit(f"the engine did not load: {process.args!r}")


def _first_token(url: str) -> None:
    httpx.post(url, json={"prompt": "Once", "max_tokens": 1}, timeout=_SECONDS).raise_for_status()


def main(model: Path, rounds: int) -> None:
    ratios = []
    for number in range(rounds):
        print(f"round {number + 1}: {model.stat().st_size / 1e6:.0f} MB, load {os.getloadavg()[0]:.1f}")
        without = measure("without read-ahead", model, ahead=False)
        ratios.append(without / measure("with read-ahead", model, ahead=True))
    print(f"without/with: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.cold_starts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, metavar="MODEL.gguf")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    main(chosen.model, chosen.rounds)
