"""What is said of a replica, and when it is asked again."""

from dataclasses import dataclass
from datetime import datetime

from arks.metrics.domain.engines import Snapshot
from arks.metrics.domain.gpus import GpuUse
from arks.metrics.domain.rates import Rates


@dataclass(frozen=True, slots=True)
class Replica:
    """One engine as app-deployer names it. A new number of restarts is a new engine."""

    name: str
    host: str
    port: int
    slots: int = 0
    """Requests that it works on at once; 0 when unknown."""
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
    """From asking to the last byte."""


@dataclass(frozen=True, slots=True)
class Failure:
    reason: str
    since: float
    """Monotonic seconds of the first failure in a row."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Said:
    """What a report says of a replica: a reading, or a problem. Both when it was read before the problem came."""

    reading: Reading | None
    problem: str
    gpu: GpuUse | None = None


def say(
    reading: Reading | None, failure: Failure | None, asked_at: float | None, now: float, late_seconds: float
) -> Said:
    """A replica that fails or keeps us waiting is a problem with its age; what it said last then counts no more.

    `asked_at` is when the question now under way was sent. An answer a little late changes nothing: engines
    that compute have other things to do.
    """
    if failure is not None:
        return Said(reading, f"{failure.reason} (for {now - failure.since:.1f} s)")
    if asked_at is not None and now - asked_at > late_seconds:
        return Said(reading, f"no answer for {now - asked_at:.1f} s")
    if reading is None:
        return Said(None, "not read yet")
    return Said(reading, "")


def failed(before: Failure | None, reason: str, now: float) -> Failure:
    if before is None:
        return Failure(reason, now)
    return Failure(reason, before.since, before.count + 1)


def retry_seconds(failure: Failure, tick_seconds: float) -> float:
    """Each tick for the first ten tries, so that a restart is seen at once; then twice as long each time, up to 2 s."""
    return float(min(2.0, tick_seconds * 2 ** min(10, max(0, failure.count - 10))))


def slot_usage(snapshot: Snapshot, slots: int) -> float | None:
    """Busy slots of all, for an engine that says nothing of its cache (llama.cpp: each slot has its share of it)."""
    if snapshot.kv_cache_usage_ratio is not None:
        return snapshot.kv_cache_usage_ratio
    if snapshot.running_requests is None or slots <= 0:
        return None
    return min(1.0, snapshot.running_requests / slots)
