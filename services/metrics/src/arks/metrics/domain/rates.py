"""Speeds out of counters: tokens a second over the last seconds, finished requests a second over the last busy seconds.

Engines count tokens in jumps (llama.cpp and SGLang when a request ends), hence windows of seconds, not two readings. A
counter that falls means that the engine started again: what was known of the one before does not hold.

While a long answer is made, llama.cpp's counter of tokens stands still, but not that of its steps: `_with_made`.
"""

import math
from dataclasses import dataclass, replace

from arks.metrics.domain.engines import Snapshot

_LEAST_GAP_SECONDS = 0.1
"""Readings that are closer count as this far apart."""
_LEAST_SECONDS = 1.0
"""A rate over less time than this is not meaningful."""
_POINTS = 10
"""Points kept a window: enough to move it smoothly."""
MOST_PER_SECOND = {"generation_tokens": 1e6, "finished_requests": 1e5}
"""More at a time is not work but a series that joins the page with a history of its own."""
FINE_STEPS = 20.0
"""A growth of so many steps shows the speed to 5 %."""
_COARSE_STEPS = 10.0
"""A page that shows fewer steps than this at a time, of some 30 a second, shows how many there were in some seconds."""
_COUNTERS = ("prompt_tokens", "generation_tokens", "finished_requests")


@dataclass(frozen=True, slots=True)
class Windows:
    tokens_seconds: float = 5.0
    drain_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Point:
    """Counters at a moment (monotonic seconds)."""

    at: float
    snapshot: Snapshot
    made: float = 0.0
    """Generated tokens since the first reading, with estimated ones that the counter does not have yet."""
    uncounted: float = 0.0
    """The estimated ones."""
    counted_at: float = -math.inf
    """When the counter has risen last."""


@dataclass(frozen=True, slots=True)
class Busy:
    """A stretch of time in which the engine had work, and how many requests it finished in it."""

    seconds: float
    finished: float


@dataclass(frozen=True, slots=True)
class History:
    """What has to be remembered of a replica to know its speeds. Bounded: `_POINTS` and one stretch a busy second."""

    last: Point | None = None
    changes: tuple[Point, ...] = ()
    """Of a counter with few digits: the readings of the window in which the tokens had changed, and two at least."""
    points: tuple[Point, ...] = ()
    busy: tuple[Busy, ...] = ()


@dataclass(frozen=True, slots=True)
class Rates:
    prompt_tokens_per_second: float | None = None
    generation_tokens_per_second: float | None = None
    drain_rate_per_second: float | None = None
    """None until it was busy for a second; kept while it is idle."""


def observe(history: History, snapshot: Snapshot, now: float, windows: Windows) -> History:
    """The history with one more reading. `now` is monotonic; a reading with a problem must not come here."""
    point = Point(now, snapshot)
    if history.last is None or now <= history.last.at or _is_another(history.last, point):
        return History(last=point, changes=(point,), points=(point,))
    point = _with_made(history.last, point, windows.tokens_seconds)
    return History(
        last=point,
        changes=_with_change(history.changes, point, windows.tokens_seconds),
        points=_thinned(history.points, point, windows.tokens_seconds),
        busy=_with_stretch(history.busy, history.last, point, windows.drain_seconds),
    )


def rates(history: History) -> Rates:
    drained = sum(stretch.seconds for stretch in history.busy)
    return Rates(
        prompt_tokens_per_second=_speed(history, "prompt_tokens"),
        generation_tokens_per_second=_stepwise(history, _speed(history, "generation_tokens")),
        drain_rate_per_second=(
            max(0.0, sum(stretch.finished for stretch in history.busy)) / drained if drained >= _LEAST_SECONDS else None
        ),
    )


def _is_another(before: Point, after: Point) -> bool:
    """Return whether a counter fell, as after a restart, or grew by more than an engine can do.

    Finished requests may fall while the engine runs, where they are a difference: SGLang counts an abort some
    milliseconds before the end of the request. Tokens, where the page has them, decide then.
    """
    counts_tokens = after.snapshot.generation_tokens is not None
    for name in _COUNTERS:
        old, new = getattr(before.snapshot, name), getattr(after.snapshot, name)
        if old is None or new is None:
            continue
        fell = new < old and not (name == "finished_requests" and counts_tokens)
        if fell or new - old > MOST_PER_SECOND.get(name, math.inf) * max(after.at - before.at, _LEAST_GAP_SECONDS):
            return True
    return False


def _with_made(before: Point, point: Point, window_seconds: float) -> Point:
    """The point with its generated tokens: those that the counter shows and, while it stands still although requests
    run, those of the steps. When it rises, only what was not estimated before is added.
    """
    old, new = before.snapshot, point.snapshot
    if old.generation_tokens is None or new.generation_tokens is None:
        return point
    counted, estimated = new.generation_tokens - old.generation_tokens, 0.0
    counted_at = point.at if counted else before.counted_at
    if point.at - counted_at >= window_seconds and _shows_steps(new) and old.steps is not None:
        running = min(old.running_requests or 0.0, new.running_requests or 0.0)
        estimated = max(0.0, (new.steps or 0.0) - old.steps) * running
    uncounted = before.uncounted + estimated
    made = before.made + estimated + max(0.0, counted - uncounted)
    remaining = max(0.0, uncounted - counted)
    if counted:
        remaining = min(remaining, uncounted / 2)  # of other answers; what was estimated too high must not stay
    return replace(point, made=made, uncounted=remaining if new.busy else 0.0, counted_at=counted_at)


def _shows_steps(snapshot: Snapshot) -> bool:
    """Whether the page shows the steps of some seconds, and so the tokens of answers that have not ended."""
    return (
        snapshot.tokens_at_end
        and snapshot.steps is not None
        and _step(snapshot.steps, snapshot.digits) <= _COARSE_STEPS
    )


def _with_change(changes: tuple[Point, ...], point: Point, window_seconds: float) -> tuple[Point, ...]:
    if point.snapshot.digits is None:
        return ()
    if not changes or changes[-1].snapshot.generation_tokens != point.snapshot.generation_tokens:
        changes = (*changes, point)
    while len(changes) > 2 and point.at - changes[0].at > window_seconds:
        changes = changes[1:]
    return changes


def _step(count: float | None, digits: int | None) -> float:
    """Return the least change of a counter that a page with so many digits can show."""
    if digits is None or not count:
        return 0.0
    return float(10.0 ** (math.floor(math.log10(count)) + 1 - digits))


def _stepwise(history: History, over_window: float | None) -> float | None:
    """Return the speed of a counter that is printed with few digits.

    llama.cpp prints 2.5e+08 for a thousand tokens. Over some seconds that is no token or a thousand, so the speed is
    that between changes, and at most one step over the time since the last.
    """
    if over_window is None or history.last is None:
        return over_window
    last = history.last
    if last.uncounted:
        return over_window
    step = _step(last.snapshot.generation_tokens, last.snapshot.digits)
    window = last.at - history.points[0].at
    if step <= 1 or over_window * window >= FINE_STEPS * step or not last.snapshot.busy or len(history.changes) < 2:
        return over_window
    first, newest = history.changes[0], history.changes[-1]
    old, new = first.snapshot.generation_tokens, newest.snapshot.generation_tokens
    if old is None or new is None:
        return over_window
    most = step / (last.at - newest.at) if last.at > newest.at else math.inf
    return min(max(0.0, new - old) / (newest.at - first.at), most)


def _thinned(points: tuple[Point, ...], point: Point, window_seconds: float) -> tuple[Point, ...]:
    """Points that span the window: one stays that is older than it, so that the window is full."""
    if point.at - points[-1].at >= window_seconds / _POINTS:
        points = (*points, point)
    while len(points) > 1 and point.at - points[1].at >= window_seconds:
        points = points[1:]
    return points


def _with_stretch(busy: tuple[Busy, ...], before: Point, after: Point, window_seconds: float) -> tuple[Busy, ...]:
    old, new = before.snapshot.finished_requests, after.snapshot.finished_requests
    seconds = after.at - before.at
    if old is None or new is None or seconds > window_seconds:
        return busy
    if not (before.snapshot.busy or after.snapshot.busy or new > old):
        return busy
    if busy and busy[-1].seconds < _LEAST_SECONDS:
        last = busy[-1]
        busy = (*busy[:-1], replace(last, seconds=last.seconds + seconds, finished=last.finished + new - old))
    else:
        busy = (*busy, Busy(seconds, new - old))
    total = sum(stretch.seconds for stretch in busy)
    while len(busy) > 1 and total - busy[0].seconds >= window_seconds:
        total -= busy[0].seconds
        busy = busy[1:]
    return busy


def _speed(history: History, name: str) -> float | None:
    if history.last is None or not history.points:
        return None
    first, last = history.points[0], history.last
    old, new = getattr(first.snapshot, name), getattr(last.snapshot, name)
    if name == "generation_tokens" and old is not None and new is not None:
        old, new = first.made, last.made
    seconds = last.at - first.at
    if old is None or new is None or seconds < _LEAST_SECONDS:
        return None
    return float(max(0.0, new - old) / seconds)
