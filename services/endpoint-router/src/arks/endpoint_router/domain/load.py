"""Readings of a replica's load: which are plausible, and what follows from them: speed, slots, requests in flight.

Work is tokens a second, which need the fewest requests to be measured, or finished requests a second (an engine that
embeds generates no tokens). It comes from counters where reports have them. Reports without counters have rates:
tokens are counted over all time, the drain rate over busy time only, and it keeps its value while the replica is idle;
each is divided by the requests in flight over the same time.
"""

import math
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from arks.contracts.load import stale_seconds
from arks.endpoint_router.domain.slots import ObservedSlots
from arks.endpoint_router.domain.speed import NO_WORK, SMOOTHING_SECONDS, Sample, Speed, Work

MOST_REQUESTS, MOST_A_SECOND, MOST_COUNTED, MOST_KV_USAGE = 1e6, 1e9, 1e18, 1.05
"""What no engine reports: requests at once, work in a second, work since its start, used part of the cache."""
FUTURE_SECONDS = 2.0
"""Clocks of one cluster differ by less; a reading from further in the future is rejected."""
QUEUE_SECONDS = 10.0
"""Queues come and go within seconds, and Envoy observes that itself; only a queue that stays should count here."""
WARM_UP_SECONDS = 10.0
"""A replica's speed counts after this much busy time."""
LONGEST_STEP_SECONDS = 1.0
"""A longer gap between readings counts as this much time."""
IN_FLIGHT_SECONDS = 2.0
"""Requests in flight are a mean over about this time: the load that shares are made for."""
FROZEN_SECONDS = 5.0
"""Requests run and nothing has changed on the engine's page for this long: its numbers are not taken as the present."""
LEAST_FROZEN_REQUESTS = 2.0
"""Fewer requests in flight can stand still for seconds on a healthy engine."""
LONGEST_REQUEST_SECONDS = 60.0
"""Engines that count work when a request ends are silent until then; after this time it is not counted any more."""
MOST_TOKENS_PER_SECOND = 1e6
"""No engine generates more."""
FORGET_SECONDS = 600.0
"""After this much idle time, earlier measurements no longer count."""


class Reading(Struct, frozen=True, gc=False):
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
    tokens_total: float | None = None
    """Generated tokens since the engine's start."""
    finished_total: float | None = None
    """Finished requests since the engine's start."""
    problem: str = ""
    held: bool = False
    """The engine has finished, and `running` is what it was before: no work, and no time that work took."""

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting

    @property
    def in_flight(self) -> float:
        return (self.running or 0.0) + (self.waiting or 0.0)

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """Return what moves while the engine works."""
        return self.running, self.waiting, self.tokens_total, self.finished_total


class Unit(StrEnum):
    """Unit of work. Speeds compare only in the same unit."""

    TOKENS = "tokens"
    REQUESTS = "requests"


class Signals(Struct, frozen=True, gc=False):
    """The newest reading of a replica, and what follows from it and the earlier ones."""

    reading: Reading
    updated_at: float | None = None
    """Time of the newest plausible reading."""
    changed_at: float = 0.0
    """Time of the newest reading that differed from the one before it."""
    busy_at: float = 0.0
    """When the replica last had work."""
    busy_seconds: float = 0.0
    mean_waiting: float = 0.0
    """Mean length of the queue over the last seconds (QUEUE_SECONDS)."""
    mean_in_flight: float = 0.0
    """Mean of running and waiting requests over IN_FLIGHT_SECONDS."""
    arrivals: float | None = None
    """Requests that arrived in a second, a mean over about IN_FLIGHT_SECONDS; None until two readings have come."""
    tokens: Work = Work()
    """From rates, as is `requests`."""
    requests: Work = Work()
    counted: Speed = Speed()
    """From counters."""
    pending: Sample = NO_WORK
    """Time since a counter moved."""
    observed_slots: ObservedSlots = ObservedSlots()

    def speed(self, unit: Unit) -> float | None:
        """Return the work that one slot completes in a second; None until enough work has been measured."""
        if self.counted.known:
            return self.counted.tokens_per_slot if unit is Unit.TOKENS else self.counted.requests_per_slot
        if self.busy_seconds < WARM_UP_SECONDS:
            return None
        return self.tokens.per_slot if unit is Unit.TOKENS else self.requests.per_slot


def observe(before: Signals | None, reading: Reading) -> Signals:
    """Add one reading. An implausible one changes no mean, and is kept as the newest so that it can be explained."""
    known = Signals(reading) if before is None else before
    if reading.problem or implausible(reading):
        return replace(known, reading=reading)
    at, running, waiting = reading.measured_at, _working(reading), reading.waiting or 0.0
    gap = 0.0 if known.updated_at is None else max(0.0, at - known.updated_at)
    elapsed = min(gap, LONGEST_STEP_SECONDS)
    if at - known.busy_at > FORGET_SECONDS:
        known = Signals(reading, mean_waiting=waiting)
    tokens, requests = known.tokens, known.requests
    if reading.token_rate is not None:
        tokens = tokens.after(reading.token_rate * elapsed, running * elapsed, elapsed, SMOOTHING_SECONDS)
    if reading.drain_rate is not None and running:
        requests = requests.after(reading.drain_rate * elapsed, running * elapsed, elapsed, SMOOTHING_SECONDS)
    finished = _growth(known.reading.finished_total, reading.finished_total)
    counted, pending = _count(known, reading, gap, finished)
    return Signals(
        reading=reading,
        updated_at=at,
        changed_at=known.changed_at if known.updated_at and reading.numbers == known.reading.numbers else at,
        busy_at=at if running else known.busy_at,
        busy_seconds=known.busy_seconds + (elapsed if running else 0.0),
        mean_waiting=_approach(known.mean_waiting, waiting, elapsed, QUEUE_SECONDS),
        mean_in_flight=running + waiting
        if known.updated_at is None
        else _approach(known.mean_in_flight, running + waiting, elapsed, IN_FLIGHT_SECONDS),
        arrivals=_arrivals(known, reading, gap, finished),
        tokens=tokens,
        requests=requests,
        counted=counted,
        pending=pending,
        observed_slots=known.observed_slots.after(running, waiting, elapsed),
    )


def _count(known: Signals, reading: Reading, gap: float, finished: float | None) -> tuple[Speed, Sample]:
    """Return the speed from counters, and the time that no counter has moved. `finished`: growth of that counter.

    Time counts with the work that ends it, since some engines count a request's tokens when it ends.
    """
    last, nothing = known.reading, NO_WORK
    tokens = _growth(last.tokens_total, reading.tokens_total)
    if (tokens or 0.0) > MOST_TOKENS_PER_SECOND * gap:
        return known.counted, nothing  # a part of the engine has joined its page with a history of its own
    if finished is None or not 0 < gap <= 2 * LONGEST_STEP_SECONDS:
        return known.counted, nothing
    if reading.held:
        return known.counted, nothing
    running = (_working(last) + _working(reading)) / 2
    sample = Sample(known.pending.seconds + gap, known.pending.slot_seconds + running * gap, tokens or 0.0, finished)
    if tokens or finished:
        return known.counted.after(sample), nothing
    return known.counted, nothing if sample.seconds > LONGEST_REQUEST_SECONDS or not running else sample


def _working(reading: Reading) -> float:
    return 0.0 if reading.held else reading.running or 0.0


def _arrivals(known: Signals, reading: Reading, gap: float, ended: float | None) -> float | None:
    """Return requests that arrived in a second: those that ended, and those that are in flight besides.

    `ended`: by the counter; without it, those that ended are known from the drain rate, which is that of busy time.
    """
    if not 0 < gap <= 2 * LONGEST_STEP_SECONDS:
        return known.arrivals
    if ended is None:
        ended = (reading.drain_rate or 0.0) * gap if reading.running else 0.0
    rate = max(0.0, (ended + reading.in_flight - known.reading.in_flight) / gap)
    return rate if known.arrivals is None else _approach(known.arrivals, rate, gap, IN_FLIGHT_SECONDS)


def _growth(before: float | None, after: float | None) -> float | None:
    """Return how much a counter grew; None if it is absent or fell, as after a restart of the engine."""
    return None if before is None or after is None or after < before else after - before


def _approach(mean: float, value: float, elapsed: float, seconds: float) -> float:
    return mean + (1 - math.exp(-elapsed / seconds)) * (value - mean)


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
    if age > stale_seconds(ready, idle=reading.idle):
        return f"its last load report is {age:.0f} s old"
    if age < -FUTURE_SECONDS:
        return f"its load report is from {-age:.0f} s in the future"
    return frozen(signals)


def frozen(signals: Signals) -> str | None:
    """Return why a page that stays the same while requests run cannot be used; None if it can.

    Without counters a steady load looks the same, so only pages with counters are judged. A page with one running
    request may be that of an engine that counts when a request ends.
    """
    reading = signals.reading
    if reading.finished_total is None or reading.in_flight < LEAST_FROZEN_REQUESTS:
        return None
    seconds = reading.measured_at - signals.changed_at
    return f"its numbers have not changed for {seconds:.0f} s" if seconds >= FROZEN_SECONDS else None


def implausible(reading: Reading) -> str | None:
    """Return why these numbers cannot be true, or carry no information; None if they are plausible."""
    if (
        reading.running is not None
        and 0 <= reading.running < MOST_REQUESTS
        and 0 <= (reading.waiting or 0.0) < MOST_REQUESTS
        and 0 <= (reading.drain_rate or 0.0) < MOST_A_SECOND
        and 0 <= (reading.token_rate or 0.0) < MOST_A_SECOND
        and 0 <= (reading.tokens_total or 0.0) < MOST_COUNTED
        and 0 <= (reading.finished_total or 0.0) < MOST_COUNTED
        and 0 <= (reading.kv_usage or 0.0) <= MOST_KV_USAGE
    ):
        return None  # nearly always
    if reading.running is None and reading.waiting is None:
        return "its engine reports neither running nor waiting requests"
    for name, value, limit in (
        ("running", reading.running, MOST_REQUESTS),
        ("waiting", reading.waiting, MOST_REQUESTS),
        ("drain rate", reading.drain_rate, MOST_A_SECOND),
        ("token rate", reading.token_rate, MOST_A_SECOND),
        ("generated tokens", reading.tokens_total, MOST_COUNTED),
        ("finished requests", reading.finished_total, MOST_COUNTED),
    ):
        if value is not None and not 0 <= value < limit:
            return f"its engine reports {name} = {value}"
    if reading.kv_usage is not None and not 0 <= reading.kv_usage <= MOST_KV_USAGE:
        return f"its engine reports KV-cache use = {reading.kv_usage}"
    return None
