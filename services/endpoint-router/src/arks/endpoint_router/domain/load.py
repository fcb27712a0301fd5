"""Readings of a replica's load: which are plausible, and how fast the replica works.

Speed: by Little's law, the work that a replica completes in a second, divided by its requests in flight, is the work
that one slot completes in a second. Unlike the drain rate itself it does not grow with the traffic that the replica is
given, so a replica with little traffic does not look slow and stay that way. Both are means over the same time.

Work is tokens a second, which need the fewest requests to be measured, or finished requests a second (an engine that
embeds generates no tokens). Tokens are counted over all time. The drain rate is counted over busy time only, and keeps
its value while the replica is idle. Each is divided by the requests in flight over the same time.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

STALE_SECONDS = 3.0
"""Readings come up to five times a second; an older one does not describe the present. A restart of metrics takes
less."""
STALE_ALONE_SECONDS = 120.0
"""The same for the only replica of an application: there is no other to compare it with, and metrics polls it seldom
while it is idle."""
FUTURE_SECONDS = 2.0
"""Clocks of one cluster differ by less; a reading from further in the future is rejected."""
SMOOTHING_SECONDS = 30.0
"""Requests differ in length, so rates are noisy: speed is a mean over about this time, as the drain rate is."""
QUEUE_SECONDS = 10.0
"""Queues come and go within seconds, and Envoy observes that itself; only a queue that stays should count here."""
WARM_UP_SECONDS = 10.0
"""A replica's speed counts after this much busy time."""
LONGEST_STEP_SECONDS = 1.0
"""A longer gap between readings counts as this much time."""
LEAST_RUNNING = 0.02
"""With fewer requests in flight on average, the quotient is meaningless."""
FORGET_SECONDS = 600.0
"""After this much idle time, earlier measurements no longer count."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One measurement. None: the engine does not report the value, which is not the same as 0."""

    measured_at: float
    """Seconds since the epoch."""
    running: float | None = None
    waiting: float | None = None
    drain_rate: float | None = None
    """Finished requests a second, over busy time."""
    token_rate: float | None = None
    """Generated tokens a second."""
    kv_usage: float | None = None
    """0 to 1."""
    slots: int = 0
    """0 if unknown."""
    problem: str = ""

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting


class Unit(StrEnum):
    """Unit of work. Speeds compare only in the same unit."""

    TOKENS = "tokens"
    REQUESTS = "requests"


@dataclass(frozen=True, slots=True)
class ServiceRate:
    """Means of requests in flight and of a rate of work, over the same time."""

    seconds: float = 0.0
    running: float = 0.0
    rate: float = 0.0

    def after(self, running: float, rate: float, elapsed: float) -> "ServiceRate":
        """Add a reading: a plain mean at first, later one that favours newer readings."""
        seconds = self.seconds + elapsed
        fraction = max(1 - math.exp(-elapsed / SMOOTHING_SECONDS), elapsed / seconds if seconds else 0.0)
        return ServiceRate(
            seconds,
            self.running + fraction * (running - self.running),
            self.rate + fraction * (rate - self.rate),
        )

    @property
    def per_slot(self) -> float | None:
        """Work that one slot completes in a second; None if unknown."""
        return self.rate / self.running if self.running >= LEAST_RUNNING and self.rate > 0 else None


@dataclass(frozen=True, slots=True)
class Signals:
    """The newest reading of a replica, and means over the earlier ones."""

    reading: Reading
    updated_at: float | None = None
    """Time of the newest plausible reading."""
    busy_at: float = 0.0
    """When the replica last had work."""
    busy_seconds: float = 0.0
    mean_waiting: float = 0.0
    """Mean length of the queue over the last seconds (QUEUE_SECONDS)."""
    tokens: ServiceRate = ServiceRate()
    requests: ServiceRate = ServiceRate()

    def speed(self, unit: Unit) -> float | None:
        """Return the work that one slot completes in a second; None until the replica has been busy for some time."""
        if self.busy_seconds < WARM_UP_SECONDS:
            return None
        return self.tokens.per_slot if unit is Unit.TOKENS else self.requests.per_slot


def observe(before: Signals | None, reading: Reading) -> Signals:
    """Add one reading. An implausible one changes no mean, and is kept as the newest so that it can be explained."""
    known = before or Signals(reading)
    if reading.problem or implausible(reading):
        return replace(known, reading=reading)
    at, running, waiting = reading.measured_at, reading.running or 0.0, reading.waiting or 0.0
    elapsed = 0.0 if known.updated_at is None else min(max(0.0, at - known.updated_at), LONGEST_STEP_SECONDS)
    if at - known.busy_at > FORGET_SECONDS:
        known = Signals(reading, mean_waiting=waiting)
    tokens, requests = known.tokens, known.requests
    if reading.token_rate is not None:
        tokens = tokens.after(running, reading.token_rate, elapsed)
    if reading.drain_rate is not None and running:
        requests = requests.after(running, reading.drain_rate, elapsed)
    return Signals(
        reading=reading,
        updated_at=at,
        busy_at=at if running else known.busy_at,
        busy_seconds=known.busy_seconds + (elapsed if running else 0.0),
        mean_waiting=known.mean_waiting + (1 - math.exp(-elapsed / QUEUE_SECONDS)) * (waiting - known.mean_waiting),
        tokens=tokens,
        requests=requests,
    )


def stale_seconds(ready: int) -> float:
    """Return the largest age of a usable reading in an application with this many ready replicas."""
    return STALE_SECONDS if ready > 1 else STALE_ALONE_SECONDS


def doubt(signals: Signals | None, now: float, ready: int = 2) -> str | None:
    """Return why the newest reading cannot be used, for users; None if it can.

    `ready`: replicas of the application that can take requests.
    """
    if signals is None:
        return "no load was reported"
    reading = signals.reading
    if reading.problem:
        return f"metrics could not read it: {reading.problem}"
    if reason := implausible(reading):
        return reason
    age = now - reading.measured_at
    if age > stale_seconds(ready):
        return f"its last load report is {age:.0f} s old"
    if age < -FUTURE_SECONDS:
        return f"its load report is from {-age:.0f} s in the future"
    return None


def implausible(reading: Reading) -> str | None:
    """Return why these numbers cannot be true, or carry no information; None if they are plausible."""
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
