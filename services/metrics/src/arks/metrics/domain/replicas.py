"""A replica's entry in a load report, and the interval after which a failed replica is queried again."""

from dataclasses import dataclass
from datetime import datetime

from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.gpus import GpuUse
from arks.metrics.domain.rates import Rates

NOT_READ = "not read yet"
"""The problem of a replica before its first reading."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One engine as app-deployer names it. Another number of restarts is another engine."""

    name: str
    host: str
    port: int
    slots: int = 0
    """Requests that it works on at the same time; 0 when unknown."""
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Application:
    runtime: str
    replicas: tuple[Replica, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    snapshot: Snapshot
    rates: Rates
    measured_at: datetime
    read_seconds: float
    """From the query to the last byte."""


@dataclass(frozen=True, slots=True)
class Failure:
    reason: str
    since: float
    """Monotonic seconds of the first failure in a row."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """A replica's entry in a load report: last reading, current problem, or both."""

    reading: Reading | None
    problem: str
    gpu: GpuUse | None = None
    stalled_seconds: float = 0.0
    """How long the engine has had requests without movement."""
    held: bool = False
    """Its running requests are those of before: it has finished them."""
    version: str = ""
    """What its page looks like."""
    missing: tuple[str, ...] = ()
    """Signals that its page lacks."""


def report_of(
    reading: Reading | None, failure: Failure | None, queried_at: float | None, now: float, late_seconds: float
) -> ReplicaReport:
    """The entry of a replica at `now`. A failure or an overdue answer is a problem, with its age.

    `queried_at` is the time of the query in flight. Up to `late_seconds` an unanswered query changes nothing, because
    busy engines answer late.
    """
    if failure is not None:
        return ReplicaReport(reading, f"{failure.reason} (for {now - failure.since:.1f} s)")
    if queried_at is not None and now - queried_at > late_seconds:
        return ReplicaReport(reading, f"no answer for {now - queried_at:.1f} s")
    if reading is None:
        return ReplicaReport(None, NOT_READ)
    return ReplicaReport(reading, "")


def failed(before: Failure | None, reason: str, now: float) -> Failure:
    if before is None:
        return Failure(reason, now)
    return Failure(reason, before.since, before.count + 1)


def retry_seconds(failure: Failure, tick_seconds: float) -> float:
    """Each tick for the first ten tries, to see a restart at once; then the interval doubles, up to 2 s."""
    return float(min(2.0, tick_seconds * 2 ** min(10, max(0, failure.count - 10))))
