"""CPU and memory of a process."""

import os
import time
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SCHEDULER_CLOCK = 2


def cpu_seconds(pid: int) -> float:
    """CPU time since the start of the process, threads that have ended included, to the nanosecond.

    Raises OSError if the process has ended. The number of the clock is that of clock_getcpuclockid(3).
    """
    return time.clock_gettime((~pid << 3) | _SCHEDULER_CLOCK)


def resident_megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6
