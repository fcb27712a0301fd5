"""GPUs of this machine by NVML, and which of its processes listens on a port. All of it blocks for milliseconds.

The package nvidia-ml-py (extra `gpu`) is imported only where NVIDIA's driver is. Written from its documentation and
tested with a scripted driver: no test has run on a real GPU yet.
"""

import contextlib
import ctypes
import importlib
from collections.abc import Collection
from typing import Any

import structlog

from arks.kit.proc import listeners, parents
from arks.metrics.domain.gpus import Gpu, with_children

log = structlog.get_logger(__name__)


def find_gpus() -> "NvmlGpus | None":
    """The GPUs of this machine; None without an NVIDIA driver, the package for it, or an answer."""
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
        """By port: the processes that listen on it, and all their descendants."""
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
