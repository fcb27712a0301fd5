"""Let what works after the answers run only while a core is idle.

On two cores, p99 at a low rate mostly shows how load, engine and Envoy wait for a core on which usage is being stored
and counted. With more cores, or with less right to them as containers of Kubernetes have it by their CPU requests,
they would not. So this shows what the gateway itself adds.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from bench.gateway.sides import ARKS, Systems

ON_THE_WAY = "Envoy"


def make_background_idle(systems: Systems) -> None:
    """Give all processes of Arks but Envoy the policy of idle ones; threads that they start inherit it."""
    (arks,) = (side for side in systems.sides if side.name == ARKS)
    for kind, servers in arks.processes.items():
        if kind != ON_THE_WAY:
            for thread in _threads(server.process.pid for server in servers):
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def _threads(pids: Iterable[int]) -> Iterable[int]:
    return (int(task.name) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
