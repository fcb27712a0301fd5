"""Readings of a replica's load: which can be believed, and how fast the replica is.

How fast: by Little's law, what a replica gets done in a second, divided by the requests under way, is what one place in
it gets done in a second. Unlike the drain rate itself it does not grow with the traffic that a replica is given, so a
replica that gets little does not look slow and stay that way. Both are means over the same time.

What it gets done: tokens a second, which say most with the fewest requests, or finished requests a second (an engine
that embeds generates no tokens). Tokens are counted over all time; the drain rate over busy time only, and it stays as
it was while the replica is idle: each goes with the requests under way over the same time.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

STALE_SECONDS = 3.0
"""Readings come four times a second or more; one this old says nothing about now (a restart of metrics takes less)."""
STALE_ALONE_SECONDS = 120.0
"""Of a replica that is alone in its application: nobody is compared with it, and metrics reads it seldom while it is
idle."""
FUTURE_SECONDS = 2.0
"""A reading from further ahead than clocks of one cluster differ is nonsense."""
SMOOTHING_SECONDS = 30.0
"""Requests differ in length, so rates are noisy: speed is a mean over about this time, as the drain rate is."""
QUEUE_SECONDS = 10.0
"""Queues come and go within seconds, and Envoy sees that itself; what counts here is a queue that stays."""
LEARNING_SECONDS = 10.0
"""So long a replica has to have been busy before its speed counts."""
LONGEST_STEP_SECONDS = 1.0
"""A gap between readings teaches no more than this."""
LEAST_RUNNING = 0.02
"""With fewer requests under way on average, a quotient says nothing."""
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
    """Finished requests a second, while it was busy."""
    token_rate: float | None = None
    """Generated tokens a second."""
    kv_usage: float | None = None
    """0 to 1."""
    slots: int = 0
    problem: str = ""

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting


class Unit(StrEnum):
    """Of what a replica gets done. Speeds compare only in the same unit."""

    TOKENS = "tokens"
    REQUESTS = "requests"


@dataclass(frozen=True, slots=True)
class Pace:
    """Means of requests under way and of a rate, over the same time."""

    seconds: float = 0.0
    running: float = 0.0
    rate: float = 0.0

    def after(self, running: float, rate: float, elapsed: float) -> "Pace":
        """The plain mean at first, then newer readings count for more."""
        seconds = self.seconds + elapsed
        part = max(1 - math.exp(-elapsed / SMOOTHING_SECONDS), elapsed / seconds if seconds else 0.0)
        return Pace(seconds, self.running + part * (running - self.running), self.rate + part * (rate - self.rate))

    @property
    def speed(self) -> float | None:
        """What one place gets done in a second."""
        return self.rate / self.running if self.running >= LEAST_RUNNING and self.rate > 0 else None


@dataclass(frozen=True, slots=True)
class Signals:
    """The newest reading with what the ones before it taught."""

    reading: Reading
    learned_at: float | None = None
    """Time of the newest reading that could be believed."""
    busy_at: float = 0.0
    """When the replica last had work."""
    busy_seconds: float = 0.0
    mean_waiting: float = 0.0
    """Over the last seconds."""
    tokens: Pace = Pace()
    requests: Pace = Pace()

    def speed(self, unit: Unit) -> float | None:
        """What one place gets done in a second; None until the replica has been busy for some time."""
        if self.busy_seconds < LEARNING_SECONDS:
            return None
        return self.tokens.speed if unit is Unit.TOKENS else self.requests.speed


def observe(before: Signals | None, reading: Reading) -> Signals:
    """Take in one more reading. One that cannot be believed teaches nothing, and is kept to say so."""
    known = before or Signals(reading)
    if reading.problem or nonsense(reading):
        return replace(known, reading=reading)
    at, running, waiting = reading.measured_at, reading.running or 0.0, reading.waiting or 0.0
    elapsed = 0.0 if known.learned_at is None else min(max(0.0, at - known.learned_at), LONGEST_STEP_SECONDS)
    if at - known.busy_at > FORGET_SECONDS:
        known = Signals(reading, mean_waiting=waiting)
    tokens, requests = known.tokens, known.requests
    if reading.token_rate is not None:
        tokens = tokens.after(running, reading.token_rate, elapsed)
    if reading.drain_rate is not None and running:
        requests = requests.after(running, reading.drain_rate, elapsed)
    return Signals(
        reading=reading,
        learned_at=at,
        busy_at=at if running else known.busy_at,
        busy_seconds=known.busy_seconds + (elapsed if running else 0.0),
        mean_waiting=known.mean_waiting + (1 - math.exp(-elapsed / QUEUE_SECONDS)) * (waiting - known.mean_waiting),
        tokens=tokens,
        requests=requests,
    )


def stale_seconds(ready: int) -> float:
    """How old a reading may be in an application with so many ready replicas."""
    return STALE_SECONDS if ready > 1 else STALE_ALONE_SECONDS


def doubt(signals: Signals | None, now: float, ready: int = 2) -> str | None:
    """Why the newest reading cannot be used, in words; None when it can. `ready`: replicas that can take requests."""
    if signals is None:
        return "no load was reported"
    reading = signals.reading
    if reading.problem:
        return f"metrics could not read it: {reading.problem}"
    if reason := nonsense(reading):
        return reason
    age = now - reading.measured_at
    if age > stale_seconds(ready):
        return f"its last load report is {age:.0f} s old"
    if age < -FUTURE_SECONDS:
        return f"its load report is from {-age:.0f} s in the future"
    return None


def nonsense(reading: Reading) -> str | None:
    """Why these numbers cannot be true, or say nothing."""
    if reading.running is None and reading.waiting is None:
        return "its engine reports neither running nor waiting requests"
    for name, value in (
        ("running", reading.running),
        ("waiting", reading.waiting),
        ("drain rate", reading.drain_rate),
        ("token rate", reading.token_rate),
    ):
        if value is not None and not 0 <= value < 1e9:
            return f"its engine reports {name} = {value}"
    if reading.kv_usage is not None and not 0 <= reading.kv_usage <= 1.05:
        return f"its engine reports KV-cache use = {reading.kv_usage}"
    return None
