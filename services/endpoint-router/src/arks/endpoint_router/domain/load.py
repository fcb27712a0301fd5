"""Readings of a replica's load: which can be believed, and how fast the replica is.

How fast: by Little's law a request takes running / drain rate seconds, so drain rate / running is what one place in the
replica gets done in a second. Unlike the drain rate itself it does not grow with the traffic that a replica is given,
so a replica that gets little does not look slow and stays that way.
"""

import math
from dataclasses import dataclass, replace

STALE_SECONDS = 3.0
"""Readings come four times a second or more; one this old says nothing about now (a restart of metrics takes less)."""
FUTURE_SECONDS = 2.0
"""A reading from further ahead than clocks of one cluster differ is nonsense."""
SMOOTHING_SECONDS = 10.0
"""Requests differ in length, so drain rates are noisy: speed is a mean over about this time."""
BUSY_REQUESTS = 0.5
"""With fewer requests under way on average, the drain rate says more about demand than about the replica."""
FORGET_SECONDS = 600.0
"""What was measured before this long an idle time is no longer held against (or for) a replica."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One measurement. None: the engine did not say, which is not the same as 0."""

    measured_at: float
    """Seconds since the epoch."""
    running: float | None = None
    waiting: float | None = None
    drain_rate: float | None = None
    """Finished requests a second."""
    kv_usage: float | None = None
    """0 to 1."""
    slots: int = 0
    problem: str = ""

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting


@dataclass(frozen=True, slots=True)
class Signals:
    """The newest reading with what the ones before it taught."""

    reading: Reading
    learned_at: float | None = None
    """Time of the newest reading that could be believed."""
    mean_running: float = 0.0
    speed: float | None = None
    """Requests a second for each one under way; None until it has been busy."""
    speed_at: float = 0.0
    """When the speed was last measured."""


def observe(before: Signals | None, reading: Reading) -> Signals:
    """Take in one more reading. One that cannot be believed teaches nothing, and is kept to say so."""
    known = before or Signals(reading)
    if reading.problem or nonsense(reading):
        return replace(known, reading=reading)
    running = reading.running or 0.0
    if known.learned_at is None:
        elapsed, mean = 0.0, running
    else:
        elapsed = max(0.0, reading.measured_at - known.learned_at)
        mean = _towards(known.mean_running, running, elapsed)
    speed, speed_at = _speed(known, reading, mean, elapsed)
    return Signals(reading, reading.measured_at, mean, speed, speed_at)


def doubt(signals: Signals | None, now: float) -> str | None:
    """Why the newest reading cannot be used, in words; None when it can."""
    if signals is None:
        return "no load was reported"
    reading = signals.reading
    if reading.problem:
        return f"metrics could not read it: {reading.problem}"
    if reason := nonsense(reading):
        return reason
    age = now - reading.measured_at
    if age > STALE_SECONDS:
        return f"its last load report is {age:.0f} s old"
    if age < -FUTURE_SECONDS:
        return f"its load report is from {-age:.0f} s in the future"
    return None


def nonsense(reading: Reading) -> str | None:
    """Why these numbers cannot be true, or say nothing."""
    if reading.running is None and reading.waiting is None:
        return "its engine reports neither running nor waiting requests"
    for name, value in (("running", reading.running), ("waiting", reading.waiting), ("drain rate", reading.drain_rate)):
        if value is not None and not 0 <= value < 1e6:
            return f"its engine reports {name} = {value}"
    if reading.kv_usage is not None and not 0 <= reading.kv_usage <= 1.05:
        return f"its engine reports KV-cache use = {reading.kv_usage}"
    return None


def _speed(known: Signals, reading: Reading, mean: float, elapsed: float) -> tuple[float | None, float]:
    if not reading.drain_rate or mean < BUSY_REQUESTS:
        forgotten = reading.measured_at - known.speed_at > FORGET_SECONDS
        return (None if forgotten else known.speed), known.speed_at
    measured = reading.drain_rate / mean
    return (measured if known.speed is None else _towards(known.speed, measured, elapsed)), reading.measured_at


def _towards(before: float, now: float, elapsed: float) -> float:
    return before + (now - before) * (1 - math.exp(-elapsed / SMOOTHING_SECONDS))
