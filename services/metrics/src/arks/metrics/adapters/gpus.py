"""GPUs of this machine by NVML, and which of its processes listens on a port. All of it blocks for milliseconds.

The package nvidia-ml-py (extra `gpu`) is imported only where NVIDIA's driver is. Written from its documentation and
tested with a scripted driver: no test has run on a real GPU yet.
"""

import contextlib
import ctypes
import importlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import structlog

from arks.metrics.domain.gpus import Gpu, with_children

log = structlog.get_logger(__name__)

_LISTENING = "0A"


def find_gpus() -> "NvmlGpus | None":
    """None where there is no NVIDIA driver, no package to ask it, or no answer."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    try:
        nvml = importlib.import_module("pynvml")
        return NvmlGpus(nvml)
    except ImportError:
        log.warning("an NVIDIA driver is here but not nvidia-ml-py: no GPU signals; install arks-metrics[gpu]")
    except nvml.NVMLError as error:
        log.warning("NVML does not start: no GPU signals", error=str(error))
    return None


class NvmlGpus:
    """`nvml` is the module pynvml."""

    def __init__(self, nvml: Any) -> None:  # the module has no types
        self._nvml = nvml
        nvml.nvmlInit()

    def read(self) -> list[Gpu]:
        """Every GPU that answers: one that was lost must not hide the others."""
        gpus: list[Gpu] = []
        with contextlib.suppress(self._nvml.NVMLError):
            for index in range(self._nvml.nvmlDeviceGetCount()):
                with contextlib.suppress(self._nvml.NVMLError):
                    gpus.append(self._gpu(index))
        return gpus

    def processes(self, ports: Collection[int]) -> dict[int, set[int]]:
        """By port: who listens on it, and everything that descends from it."""
        tree = parents()
        return {port: with_children(tree, found) for port, found in listeners(ports).items()}

    def _gpu(self, index: int) -> Gpu:
        device = self._nvml.nvmlDeviceGetHandleByIndex(index)
        memory = self._nvml.nvmlDeviceGetMemoryInfo(device)
        processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(device)
        return Gpu(
            index=index,
            uuid=str(self._nvml.nvmlDeviceGetUUID(device)),
            memory_total_bytes=int(memory.total),
            memory_used_bytes=int(memory.used),
            utilization_ratio=self._utilization(device),
            process_memory_bytes={int(process.pid): int(process.usedGpuMemory or 0) for process in processes},
        )

    def _utilization(self, device: Any) -> float | None:  # a handle without a type
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(device).gpu) / 100
        except self._nvml.NVMLError:
            return None


def listeners(ports: Collection[int], proc: Path = Path("/proc")) -> dict[int, set[int]]:
    """By TCP port: the processes that listen on it, as far as we may see them."""
    wanted = {f"socket:[{inode}]": port for port, inode in _listening(proc) if port in ports}
    found: dict[int, set[int]] = {port: set() for port in ports}
    for pid in _processes(proc) if wanted else ():
        for link in _links(proc / str(pid) / "fd"):
            if link in wanted:
                found[wanted[link]].add(pid)
    return found


def parents(proc: Path = Path("/proc")) -> dict[int, int]:
    """Process id -> its parent's, of all processes."""
    found = {}
    for pid in _processes(proc):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # "pid (name) state ppid ...": the name may hold anything, so from its last bracket on
            found[pid] = int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def _listening(proc: Path) -> Iterator[tuple[int, str]]:
    """Port and inode of each listening socket."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING:
                    yield int(columns[1].rpartition(":")[2], 16), columns[9]


def _processes(proc: Path) -> Iterator[int]:
    return (int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal())


def _links(directory: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):  # it ended meanwhile, or is somebody else's
        for entry in directory.iterdir():
            with contextlib.suppress(OSError):
                yield str(entry.readlink())
