"""Load reports: signals that may be absent, which is not the same as 0."""

from typing import Literal

from arks.events.v1.load_pb2 import ReplicaLoad

Signal = Literal[
    "running_requests",
    "waiting_requests",
    "kv_cache_usage_ratio",
    "prompt_tokens_per_second",
    "generation_tokens_per_second",
    "drain_rate_per_second",
    "slots",
    "gpu_utilization_ratio",
    "gpu_memory_used_bytes",
    "generation_tokens_total",
    "finished_requests_total",
    "prompt_tokens_total",
]
"""Optional fields of ReplicaLoad."""

STUCK_SECONDS = 600.0
"""An engine with requests that shows no movement for so long is stuck. A single step may take minutes: llama.cpp
computes up to 2,048 tokens of a prompt in one, and its page does not move meanwhile.
"""

STALE_SECONDS = 3.0
"""Reports come up to five times a second; an older one does not describe the present. A restart of metrics takes
less."""
STALE_IDLE_SECONDS = 5.0
"""The same for a replica without work. While all of an application rest, metrics reports them every 2 s; after the end
of the member that did it, another one reports them up to 4.3 s after its last report."""
STALE_ALONE_SECONDS = 120.0
"""The same for the only replica of an application: there is no other to compare it with, and metrics reads it seldom
while it is idle."""


def stale_seconds(replicas: int, *, idle: bool = False) -> float:
    """The largest age of a usable report of an application with so many replicas. `idle`: it shows no work."""
    if replicas <= 1:
        return STALE_ALONE_SECONDS
    return STALE_IDLE_SECONDS if idle else STALE_SECONDS


def signal(load: ReplicaLoad, name: Signal) -> float | None:
    """The value of a signal; None if the engine did not give it."""
    return float(getattr(load, name)) if load.HasField(name) else None


def set_signal(load: ReplicaLoad, name: Signal, value: float | None) -> None:
    """Set a signal; None leaves it absent."""
    if value is not None:
        setattr(load, name, value)
