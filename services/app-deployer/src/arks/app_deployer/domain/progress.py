"""The condition Progressing: whether the replicas become what the spec wants, and what keeps them. Pure."""

from collections.abc import Sequence

from arks.app_deployer.domain.workload import ObservedWorkload, Refusal, Verdict
from arks.contracts.resources import Condition, InstanceState
from arks.kit.key import Key

_ROLLING_OUT = "RollingOut"
Signature = tuple[object, ...]


def progressing(
    parts: Sequence[tuple[int, ObservedWorkload]],
    trouble: Refusal | None,
    *,
    waits_for: str,
    overdue_seconds: float | None,
) -> Verdict:
    """Each part's desired replicas and observed state.

    `trouble`: what keeps a replica from serving. `waits_for`: the model's problem, empty without one.
    `overdue_seconds`: the deadline, if nothing has changed for so long.
    """
    if all(_complete(desired, observed) for desired, observed in parts):
        return Verdict(True, "Complete", "all replicas run the newest spec and serve")
    updated = sum(_serving(observed) for _, observed in parts)
    done = f"{updated} of {sum(desired for desired, _ in parts)} replicas run the newest spec and serve"
    if any(observed.without_surge for _, observed in parts):
        done += "; there is no room for one more, so old replicas stop first"
    if trouble is not None:
        return Verdict(False, trouble.reason, f"{done}; {trouble.message}")
    if waits_for:
        return Verdict(False, "WaitingForModel", f"{done}; {waits_for}")
    if overdue_seconds is not None:
        return Verdict(False, "DeadlineExceeded", f"{done}; no replica has changed for {overdue_seconds:.0f} s")
    return Verdict(True, _ROLLING_OUT, done)


def rolling_out(conditions: Sequence[Condition]) -> bool:
    """Whether replicas still have to change, with nothing known that keeps them."""
    return any(item.type == "Progressing" and item.reason == _ROLLING_OUT for item in conditions)


def _complete(desired: int, observed: ObservedWorkload) -> bool:
    """Replicas that drain belong to the past."""
    present = [replica for replica in observed.replicas if replica.state is not InstanceState.DRAINING]
    return desired == len(present) == _serving(observed)


def _serving(observed: ObservedWorkload) -> int:
    return sum(replica.updated for replica in observed.of(InstanceState.READY))


def signature(*parts: ObservedWorkload) -> Signature:
    """Changes whenever a replica does."""
    return tuple((each.name, each.state, each.updated, each.restarts) for part in parts for each in part.replicas)


class Deadlines:
    """For how long nothing has changed, by application; after a restart from then on."""

    def __init__(self) -> None:
        self._last: dict[Key, tuple[Signature, float]] = {}

    def remaining_seconds(self, key: Key, seen: Signature, deadline_seconds: float, now: float) -> float:
        """Seconds until the deadline, from the last change of `seen`; 0 or less: it is over. `now`: monotonic."""
        last, since = self._last.get(key, (None, now))
        if last != seen:
            since = now
        self._last[key] = (seen, since)
        return since + deadline_seconds - now

    def forget(self, key: Key) -> None:
        self._last.pop(key, None)
