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


def take_first_core() -> None:
    """Keep this process, and what it starts from now on, on the first core. Raises ValueError if there is one only."""
    first, _ = two_cores()
    os.sched_setaffinity(0, {first})


def move_background(systems: Systems) -> None:
    """Move what works after the answers to the second core."""
    _, second = two_cores()
    (arks,) = (side for side in systems.sides if side.name == ARKS)
    for kind, servers in arks.processes.items():
        if kind != ON_THE_WAY:
            for thread in _threads(server.process.pid for server in servers):
                os.sched_setaffinity(thread, {second})


def two_cores() -> tuple[int, int]:
    """Return the first two cores of the machine that this process may use, whatever it is restricted to now."""
    online = range(os.cpu_count() or 1)
    if len(online) < 2:
        raise ValueError("cores can't be divided: this machine has one")
    return online[0], online[1]


def _threads(pids: Iterable[int]) -> Iterable[int]:
    return (int(task.name) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
