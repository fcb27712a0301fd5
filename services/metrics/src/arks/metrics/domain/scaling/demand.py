"""How much work arrives: tokens a second now, and when a replica that starts now would be ready.

Arrived requests are those that ended plus those in flight, so a crowd is seen before its first answer ends. Engines
that work at their limit show it, while their throughput does not.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import StatisticsError, fmean, linear_regression

from arks.metrics.domain.scaling.observed import Observed

FAST_SECONDS, SLOW_SECONDS, TREND_SECONDS = 20.0, 120.0, 600.0
_POINT_SECONDS = 10.0
"""Least time between points that are kept."""
_FEW = 10
_SURE = 3.0
"""Standard deviations of a Poisson process; what is beyond them is no accident."""
_SURE_TREND = 2.0
_CROWD_SECONDS, _CROWD_CHANCE, _CROWD_MARGIN = 2.0, 4.0, 0.5
"""Least length of an interval that shows a crowd by itself, standard deviations by which it is beyond chance, and those
that are subtracted of its rate."""
_CROWD, _CATCH_UP = 2.0, 0.2
"""Of a load that is so many times the one before, this part more is expected: requests have queued by the time that its
replicas are ready, and without spare capacity all later ones would wait behind those."""


@dataclass(frozen=True, slots=True)
class Point:
    at: float
    arrived: float
    finished: float
    tokens: float
    work: float
    """Seconds of slots in use."""


@dataclass(frozen=True, slots=True)
class History:
    """The last ten minutes. Bounded: a point each ten seconds, and the newest."""

    points: tuple[Point, ...] = ()
    last: Point | None = None
    slope: float = 0.0
    """Requests a second, a second; made anew with each point, as it costs the most."""
    active: bool = False
    """Whether the newest observation has requests, or some came since the one before."""
    busy_at: float | None = None
    """When that was last so; before, when observation began."""
    previous: Point | None = None
    """The observation before the newest."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Tokens a second; requests a second as long as no tokens are known."""

    now: float
    ahead: float
    """At the end of the start-up time, at least `now`."""
    burst: bool = False
    tokens_per_request: float = 1.0


def observe(history: History, seen: Observed) -> History:
    """The history with one more observation. What is doubtful must not come here."""
    last = history.last
    if last is not None and (seen.finished < last.finished or seen.tokens < last.tokens or seen.at <= last.at):
        history, last = forget_rates(history), None
    point = _point(last, seen)
    points, slope = history.points, history.slope
    if not points or seen.at - points[-1].at >= _POINT_SECONDS:
        points = (*_recent(points, seen.at), point)
        slope = _slope(points)
    active = bool(seen.in_flight or seen.held) or (last is not None and point.arrived > last.arrived)
    busy_at = seen.at if active or history.busy_at is None else history.busy_at
    return History(points, point, slope, active, busy_at, last)


def _recent(points: tuple[Point, ...], now: float) -> tuple[Point, ...]:
    """Points that fill the window: the oldest may be older than it."""
    first = next((number for number, point in enumerate(points) if now - point.at < TREND_SECONDS), len(points))
    return points[max(0, first - 1) :]


def _point(last: Point | None, seen: Observed) -> Point:
    in_flight = seen.in_flight or 0.0
    running = max(0.0, in_flight - (seen.waiting or 0.0))
    work = 0.0 if last is None else last.work + running * (seen.at - last.at)
    arrived = seen.finished + seen.refused + seen.held + in_flight
    return Point(seen.at, arrived, seen.finished, seen.tokens, work)


def demand(history: History, seen: Observed, horizon_seconds: float) -> Demand | None:
    """None until it was observed for some time. `horizon_seconds`: until a replica that is ordered now is ready."""
    last = history.last
    if last is None or not history.points:
        return None
    size = _tokens_per_request(history)
    fast, slow = _rate(history, FAST_SECONDS), _rate(history, SLOW_SECONDS)
    if fast is None:
        return None
    if slow is None:
        rate, burst = fast, False
    else:
        burst = fast > slow + _SURE * math.sqrt(max(slow, 1 / SLOW_SECONDS) / FAST_SECONDS)
        rate = fast if burst else slow
        if (at_least := _crowd_rate(history, slow)) > rate:
            burst, rate = True, at_least
    now = max(rate * size, 0.0)
    if seen.tokens_per_second is not None and last.finished == history.points[0].finished:
        now = max(now, seen.tokens_per_second)  # the gateway counts nothing, yet engines work
    if burst:
        rise = now * _CATCH_UP if slow is not None and rate > _CROWD * slow else 0.0
    else:
        rise = max(0.0, history.slope) * size * horizon_seconds
    return Demand(now, now + rise, burst, size)


def _crowd_rate(history: History, slow: float) -> float:
    """What a crowd that has just begun brings at least, by the newest interval alone; 0 if it may be chance.

    The mean of the last 20 s has grown to the crowd's rate only after 20 s, and each replica would be ordered later.
    """
    last, previous = history.last, history.previous
    if last is None or previous is None or last.at - previous.at < _CROWD_SECONDS:
        return 0.0
    seconds = last.at - previous.at
    rate = max(0.0, last.arrived - previous.arrived) / seconds
    at_least = rate - _CROWD_MARGIN * math.sqrt(rate / seconds)
    chance = slow + _CROWD_CHANCE * math.sqrt(max(slow, 1 / SLOW_SECONDS) / seconds)
    return at_least if at_least > chance else 0.0


def throughput(history: History, seconds: float) -> float | None:
    """Tokens of ended requests a second; None until that much time was observed."""
    since = _point_before(history, seconds)
    if since is None or history.last is None:
        return None
    tokens, finished = history.last.tokens - since.tokens, history.last.finished - since.finished
    span = history.last.at - since.at
    return (tokens or finished) / span if span > 0 else None


def slot_speed(history: History) -> float | None:
    """Tokens a second of a slot in use, over all that is kept; None before some requests have ended."""
    if history.last is None or not history.points:
        return None
    first, last = history.points[0], history.last
    tokens, finished, work = last.tokens - first.tokens, last.finished - first.finished, last.work - first.work
    long_enough = last.at - first.at >= SLOW_SECONDS / 2 and finished >= _FEW
    return (tokens or finished) / work if long_enough and work > 0 else None


def forget_rates(history: History) -> History:
    """Keep only when it was last busy: counters started over."""
    return replace(history, points=(), last=None, slope=0.0, active=False, previous=None)


def _point_before(history: History, seconds: float) -> Point | None:
    last = history.last
    if last is None:
        return None
    return next((point for point in reversed(history.points) if last.at - point.at >= seconds), None)


def _rate(history: History, seconds: float) -> float | None:
    since = _point_before(history, seconds)
    if since is None or history.last is None:
        return None
    return max(0.0, history.last.arrived - since.arrived) / (history.last.at - since.at)


def _tokens_per_request(history: History) -> float:
    if history.last is None or not history.points:
        return 1.0
    first = history.points[0]
    finished, tokens = history.last.finished - first.finished, history.last.tokens - first.tokens
    return max(1.0, tokens / finished) if finished > 0 else 1.0


def _slope(points: tuple[Point, ...]) -> float:
    """By least squares over the rates between points; 0 unless it is beyond chance."""
    if len(points) < TREND_SECONDS / _POINT_SECONDS / 2:
        return 0.0
    times = [(before.at + after.at) / 2 for before, after in pairwise(points)]
    rates = [(after.arrived - before.arrived) / (after.at - before.at) for before, after in pairwise(points)]
    try:
        slope, _ = linear_regression(times, rates)
    except StatisticsError:
        return 0.0
    middle = fmean(times)
    spread = sum((at - middle) ** 2 for at in times)
    chance = math.sqrt(max(fmean(rates), 0.0) / _POINT_SECONDS / spread)
    return slope if slope > _SURE_TREND * chance else 0.0
