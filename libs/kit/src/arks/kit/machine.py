"""What this machine has: processors, memory, programs, accelerators.

Standard library only: the engine program uses it too.
"""

import os
import shutil
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = _CGROUP) -> int:
    """Processors that this process may use: its affinity, and the cgroup's quota where there is one (at least 1)."""
    cpus = len(os.sched_getaffinity(0))
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        cpus = min(cpus, int(quota) // int(period))
    return max(1, cpus)


def engine_threads(cpus: int, engines: int) -> int:
    """Threads for one of `engines` that share the machine; one processor stays for Envoy and the services.

    More threads than processors is far worse than too few, because llama.cpp's threads spin at every barrier: on two
    processors two engines of two threads wrote 44 tokens/s together, two of one thread 166.
    """
    return max(1, (cpus - 1) // max(1, engines))


def available_memory_bytes(proc: Path = Path("/proc"), cgroup: Path = _CGROUP) -> int:
    """Memory that can be had without swapping: of the machine, or of the cgroup where that has less."""
    available = _meminfo_bytes(proc / "meminfo", "MemAvailable")
    limit, used = _read(cgroup / "memory.max"), _read(cgroup / "memory.current")
    if limit.isdigit() and used.isdigit():
        available = min(available, max(0, int(limit) - int(used) + _reclaimable_bytes(cgroup / "memory.stat")))
    return available


def has_program(name: str) -> bool:
    return shutil.which(name) is not None


def has_gpu(dev: Path = Path("/dev")) -> bool:
    """Whether a driver of NVIDIA or AMD shows a device."""
    return any((dev / name).exists() for name in ("nvidia0", "nvidiactl", "kfd", "dxg"))


def _meminfo_bytes(meminfo: Path, field: str) -> int:
    for line in _read(meminfo).splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return 0


def _reclaimable_bytes(stat: Path) -> int:
    """Page cache that counts as used but goes when memory is wanted."""
    fields = dict(line.split(" ", 1) for line in _read(stat).splitlines() if " " in line)
    return int(fields.get("inactive_file", 0))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
