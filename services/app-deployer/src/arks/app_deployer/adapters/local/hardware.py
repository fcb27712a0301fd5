"""The accelerators of this machine, from NVIDIA's own program."""

import asyncio
import subprocess
from collections.abc import Callable

from arks.app_deployer.domain.fit import Hardware
from arks.contracts.resources import ArksApplication, Runtime
from arks.kit import machine

_COMMAND = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
_SECONDS = 10.0


def query() -> str:
    """A line a GPU; empty without a GPU or the program."""
    if not machine.has_gpu() or not machine.has_program(_COMMAND[0]):
        return ""
    try:
        done = subprocess.run(_COMMAND, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def accelerator_bytes(output: str) -> int:
    """Of the largest: engines choose theirs by CUDA_VISIBLE_DEVICES."""
    lines = [line.strip() for line in output.splitlines()]
    return max((int(line) << 20 for line in lines if line.isascii() and line.isdigit()), default=0)


class MachineHardware:
    """Queried once: GPUs do not come and go. Engines on processors are compared with free memory before their start."""

    def __init__(self, query: Callable[[], str] = query) -> None:
        self._query = query
        self._found: Hardware | None = None

    async def of(self, application: ArksApplication) -> Hardware:
        if application.spec.effective_runtime in {Runtime.LLAMACPP, Runtime.ARK}:
            return Hardware()
        if self._found is None:
            self._found = Hardware(accelerator_bytes(await asyncio.to_thread(self._query)))
        return self._found
