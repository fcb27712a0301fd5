"""All applications: one watch for each that this replica of metrics reads."""

import asyncio
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.metrics.domain.idle import first_seconds
from arks.metrics.domain.members import WARM_SECONDS, Members
from arks.metrics.domain.replicas import Application, Replica, ReplicaReport
from arks.metrics.service.ports import Engines, ReadPolicy, Reports
from arks.metrics.service.reader import ReplicaReader
from arks.metrics.service.watch import ApplicationWatch

_TAKE_OVER_SECONDS = 0.5
"""The first reads of applications that no other member reads any more are spread over this time."""


@dataclass(frozen=True, slots=True)
class _OfThisMember:
    """Publishes only what this member reports. What is not reported (stages) is published for other members."""

    reports: Reports
    reporting: Set[Key]
    members: Members
    reported: bool

    async def publish(self, key: Key, replicas: Mapping[Replica, ReplicaReport]) -> None:
        if key in self.reporting and (self.reported or not self.members.alone):
            await self.reports.publish(key, replicas)


class Collector:
    """All applications. `change` and `divide` may be called at any time; `run` does the work."""

    def __init__(self, engines: Engines, reports: Reports, clock: Clock, policy: ReadPolicy, members: Members) -> None:
        """`members` decides which applications are read and reported here."""
        self._reports = reports
        self._clock = clock
        self._policy = policy
        self._members = members
        self._reader = ReplicaReader(engines, clock, policy)
        self._applications: dict[Key, tuple[Application, bool]] = {}
        self._watches: dict[Key, ApplicationWatch] = {}
        self._reporting: set[Key] = set()
        self._taken_over: set[Key] = set()
        """To be read at once."""
        self._resting: set[Key] = set()
        self._changed = asyncio.Event()

    def change(self, key: Key, application: Application | None, *, reported: bool = True) -> None:
        """Set the replicas of an application; None or no replicas ends its reading. `reported`: whether its load is
        published for all.
        """
        if application is None or not application.replicas:
            self._applications.pop(key, None)
        else:
            self._applications[key] = application, reported
            if watch := self._watches.get(key):
                watch.change(application)
        self._assign(key)
        self._changed.set()

    def divide(self) -> None:
        """Read what the members leave to this one, and nothing else."""
        started = bool(self._watches)
        for key in list(self._applications):
            self._assign(key, taken_over=started)
        self._changed.set()

    def warm(self) -> bool:
        """Whether everything that is read here has been read for long enough for speeds."""
        latest = self._clock.monotonic() - WARM_SECONDS
        return all(watch.read_since is not None and watch.read_since <= latest for watch in self._watches.values())

    def watch(self, key: Key) -> ApplicationWatch | None:
        """The watch of an application; None while it has no replicas to read, or another member reads it."""
        return self._watches.get(key)

    def watches(self) -> Iterator[ApplicationWatch]:
        return iter(list(self._watches.values()))

    def _assign(self, key: Key, *, taken_over: bool = False) -> None:
        found = self._applications.get(key)
        if found is None or not self._members.reads(key):
            self._watches.pop(key, None)
            self._reporting.discard(key)
            return
        application, reported = found
        watch = self._watches.get(key)
        if watch is None:
            reports = _OfThisMember(self._reports, self._reporting, self._members, reported)
            watch = self._watches[key] = ApplicationWatch(
                *(key, application, self._reader, reports),
                resting=self._resting,
                clock=self._clock,
                policy=self._policy,
            )
        if not self._members.reports(key):
            self._reporting.discard(key)
        elif key not in self._reporting:
            self._reporting.add(key)
            watch.publish_next()
            if taken_over:
                self._taken_over.add(key)

    async def run(self) -> None:
        """Run a task for each application until cancelled."""
        running: dict[ApplicationWatch, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                desired = set(self._watches.values())
                for watch in [watch for watch in running if watch not in desired]:
                    running.pop(watch).cancel()
                new = desired - running.keys()
                spread = first_seconds(len(new), self._policy.tick_seconds)
                for watch in new:
                    seconds = min(spread, _TAKE_OVER_SECONDS) if watch.key in self._taken_over else spread
                    running[watch] = tasks.create_task(watch.run(seconds), name=f"load of {watch.key}")
                self._taken_over.clear()
                await self._changed.wait()
