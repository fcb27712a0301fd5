"""What the service needs from its adapters, and the values that `main` sets."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from arks.kit.key import Key
from arks.metrics.domain.gpus import Gpu
from arks.metrics.domain.rates import Windows
from arks.metrics.domain.replicas import Replica, ReplicaReport


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """How often and how many replicas are read."""

    tick_seconds: float = 0.2
    """Interval of reading and reporting."""
    late_seconds: float = 0.6
    """An unanswered query of this age makes the replica a problem."""
    windows: Windows = field(default_factory=Windows)
    concurrent_reads: int = 64
    concurrent_silent_reads: int = 16
    """Separate slots for replicas that failed last time."""


class Engines(Protocol):
    async def page(self, host: str, port: int) -> bytes:
        """The engine's metrics page. Raises Unavailable with a reason for people."""


class Reports(Protocol):
    async def publish(self, key: Key, replicas: Mapping[Replica, ReplicaReport]) -> None:
        """Publish the load of an application. Never fails and never waits for an outage to end."""


class Gpus(Protocol):
    """The GPUs of this machine. Both methods block for some milliseconds."""

    def read(self) -> list[Gpu]:
        """Every GPU that answers."""

    def processes(self, ports: Collection[int]) -> dict[int, set[int]]:
        """By port of this machine: the processes of the engine that listens on it."""
