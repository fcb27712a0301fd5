"""Load reports of applications that have nothing to do, recognised without a decision.

A thousand idle endpoints of eight replicas report thousands of times a second. Each report differs from the one before
in its times only, and shows only that the readings are fresh. The times are kept here and become readings when
something needs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from arks.endpoint_router.domain.load import QUEUE_SECONDS, STALE_SECONDS
from arks.events.v1.load_pb2 import LoadReport, ReplicaLoad

QUIET_SECONDS = QUEUE_SECONDS
"""After so long without work, means of the load have no more effect."""


_NOT_COMPARED: tuple[Literal["measured_at", "gpu_utilization_ratio", "gpu_memory_used_bytes"], ...] = (
    "measured_at",
    "gpu_utilization_ratio",
    "gpu_memory_used_bytes",
)


@dataclass(slots=True)
class Quiet:
    """The last reports of one application."""

    body: bytes = b""
    """The report without its times; empty if a replica has work or a problem."""
    since: float = 0.0
    """Time of the first of the equal reports, in seconds since the epoch."""
    measured_at: Mapping[str, float] = field(default_factory=dict)
    """When each replica was measured that is not in the signals yet."""

    def take(self, report: LoadReport) -> bool:
        """Store a report. Returns whether it only confirms what is known; else it has to be read."""
        at = _seconds(report)
        times = {load.name: _seconds(load) for load in report.replicas}
        if any(at - time > STALE_SECONDS / 3 for time in times.values()):
            self.body = b""  # a replica that does not answer becomes stale, which is a decision
            return False
        body = b"" if any(map(_works, report.replicas)) else _without_times(report)
        if not body or body != self.body:
            self.body, self.since = body, at
            return False
        if at - self.since < QUIET_SECONDS:
            return False
        self.measured_at = times
        return True

    def settle(self) -> Mapping[str, float]:
        """Return the times that are not in the signals yet, once."""
        times, self.measured_at = self.measured_at, {}
        return times


def _seconds(message: "LoadReport | ReplicaLoad") -> float:
    return message.measured_at.seconds + message.measured_at.nanos / 1e9


def _works(load: ReplicaLoad) -> bool:
    return bool(load.running_requests or load.waiting_requests or load.problem) or not load.HasField("measured_at")


def _without_times(report: LoadReport) -> bytes:
    """Return what decisions depend on: the use of GPUs is not part of it."""
    copy = LoadReport()
    copy.CopyFrom(report)
    copy.ClearField("measured_at")
    for load in copy.replicas:
        for name in _NOT_COMPARED:
            load.ClearField(name)
    return copy.SerializeToString()
