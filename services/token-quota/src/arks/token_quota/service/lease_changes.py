"""Which leases a worker of the gateway may go on using: those that no change of a token, a quota or an endpoint has
ended, while the counters that contain them exist.
"""

from typing import NamedTuple

from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.token_quota.domain.recent_changes import RecentChanges, is_whole
from arks.token_quota.service.index import Index
from arks.token_quota.service.ports.counters import Counters

ALL = ("*",)
"""Stands for the subjects of all leases."""


class LeaseChanges(NamedTuple):
    life: str
    """Which life of the counters this is; another one does not contain the leases of this one."""
    ended: tuple[str, ...]
    """Subjects whose leases end: `token:<namespace>/<token>`, `endpoint:<namespace>/<endpoint>`, `namespace:<name>`,
    or ALL.
    """


class LeaseWatch:
    def __init__(self, index: Index, counters: Counters, clock: Clock) -> None:
        self._counters = counters
        self._clock = clock
        self._recent = RecentChanges(clock.monotonic())
        index.token_changes.subscribe(lambda key: self._add("token", key))
        index.budget_changes.subscribe(lambda key: self._add("token", key))
        index.endpoint_changes.subscribe(lambda key: self._add("endpoint", key))

    def _add(self, kind: str, key: Key) -> None:
        self._recent.add(kind, key, self._clock.monotonic())

    async def since(self, life: str, milliseconds: int, *, by_namespace: bool = True) -> LeaseChanges:
        """`life`: what the last answer had, empty for none; `milliseconds`: since the query for it was sent;
        `by_namespace`: whether the gateway can end the leases of a namespace. Raises CountersUnavailable.
        """
        now = self._clock.monotonic()
        current = await self._counters.life()
        subjects = self._recent.since(milliseconds / 1000, now)
        if current != life or subjects is None or (not by_namespace and any(map(is_whole, subjects))):
            return LeaseChanges(current, ALL)
        return LeaseChanges(current, tuple(subjects))
