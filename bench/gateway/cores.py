"""Give the way of a request and the work after its answer a processor core each.

On two cores, p99 at a low rate mostly shows how load, engine and Envoy wait for a core on which usage is being stored
and counted. With more cores, they would not. So this shows what the gateway itself adds: load, engine and both Envoys
share the first core, token-quota, the shipper and the stores the second one.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from bench.gateway.sides import ARKS, Systems

ON_THE_WAY = "Envoy"


def take_first_core() -> int:
    """Keep this process, and what it starts from now on, on its first core. Returns the second one.

    Raises ValueError if it may use only one.
    """
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise ValueError("cores can't be divided: this process may use only one")
    first, second = usable[:2]
    os.sched_setaffinity(0, {first})
    return second


def move_background(systems: Systems, core: int) -> None:
    """Move what works after the answers to this core."""
    (arks,) = (side for side in systems.sides if side.name == ARKS)
    for kind, servers in arks.processes.items():
        if kind != ON_THE_WAY:
            for thread in _threads(server.process.pid for server in servers):
                os.sched_setaffinity(thread, {core})


def _threads(pids: Iterable[int]) -> Iterable[int]:
    return (int(task.name) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
