"""When a wanted number becomes the number: windows and steps."""

from dataclasses import dataclass, replace

from arks.metrics.domain.scaling.policy import Pace, Policy

_WINDOW_POINTS = 30
"""Largest values kept of a window: one a thirtieth of it."""
_CHANGES = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    at: float
    up: int
    down: int


@dataclass(frozen=True, slots=True)
class Change:
    at: float
    by: int


@dataclass(frozen=True, slots=True)
class Paces:
    wanted: tuple[Wanted, ...] = ()
    since: float | None = None
    """Begin of what `wanted` covers without a gap."""
    changes: tuple[Change, ...] = ()

    def restarted(self) -> "Paces":
        """Windows begin anew: what was not measured is not known to be low."""
        return replace(self, wanted=(), since=None)

    def changed(self, at: float, by: int) -> "Paces":
        return replace(self, changes=(*self.changes[-_CHANGES + 1 :], Change(at, by)))


def paced(paces: Paces, policy: Policy, *, up: int, down: int, current: int, at: float) -> tuple[Paces, int]:
    """The number at `at`: up if more was wanted for the whole window of `up`, down likewise, each at most by its step.

    `up`: replicas that are needed; `down`: those that are needed to keep room, at least `up`.
    """
    longest = max(policy.up.window_seconds, policy.down.window_seconds)
    paces = _noted(paces, Wanted(at, up, down), longest)
    rise = (
        min((wanted.up for wanted in _within(paces, at - policy.up.window_seconds)), default=up)
        if policy.up.window_seconds
        else up
    )
    if rise > current and _covers(paces, policy.up, at):
        return paces, _stepped(paces, policy.up, current, rise, at)
    fall = max((wanted.down for wanted in _within(paces, at - policy.down.window_seconds)), default=current)
    if fall < current and _covers(paces, policy.down, at):
        return paces, _stepped(paces, policy.down, current, fall, at)
    return paces, current


def _noted(paces: Paces, newest: Wanted, longest_seconds: float) -> Paces:
    """With the newest; values of the same thirtieth of the window are merged to its lowest `up` and highest `down`."""
    kept = [wanted for wanted in paces.wanted if newest.at - wanted.at <= longest_seconds]
    if kept and newest.at - kept[-1].at < longest_seconds / _WINDOW_POINTS and len(kept) > 1:
        last = kept.pop()
        kept.append(Wanted(last.at, min(last.up, newest.up), max(last.down, newest.down)))
    else:
        kept.append(newest)
    return replace(paces, wanted=tuple(kept), since=newest.at if paces.since is None else paces.since)


def _within(paces: Paces, since: float) -> list[Wanted]:
    return [wanted for wanted in paces.wanted if wanted.at >= since] or list(paces.wanted[-1:])


def _covers(paces: Paces, pace: Pace, at: float) -> bool:
    return paces.since is not None and at - paces.since >= pace.window_seconds


def _stepped(paces: Paces, pace: Pace, current: int, wanted: int, at: float) -> int:
    if pace.step is None:
        return wanted
    sign = 1 if wanted > current else -1
    done = sum(
        abs(change.by) for change in paces.changes if change.by * sign > 0 and at - change.at < pace.step_seconds
    )
    allowed = max(0, pace.step - done)
    return current + sign * min(abs(wanted - current), allowed)
