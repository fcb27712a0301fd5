"""All applications: one watch for each."""

import asyncio
from collections.abc import Iterator, Mapping

from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.metrics.domain.idle import first_seconds
from arks.metrics.domain.replicas import Application, Replica, ReplicaReport
from arks.metrics.service.ports import Engines, ReadPolicy, Reports
from arks.metrics.service.reader import ReplicaReader
from arks.metrics.service.watch import ApplicationWatch


class _Unreported:
    async def publish(self, key: Key, replicas: Mapping[Replica, ReplicaReport]) -> None:
        """What is read stays here."""


class Collector:
    """All applications. `change` may be called at any time; `run` does the work."""

    def __init__(self, engines: Engines, reports: Reports, clock: Clock, policy: ReadPolicy) -> None:
        self._reports = reports
        self._clock = clock
        self._policy = policy
        self._reader = ReplicaReader(engines, clock, policy)
        self._watches: dict[Key, ApplicationWatch] = {}
        self._resting: set[Key] = set()
        self._changed = asyncio.Event()

    def change(self, key: Key, application: Application | None, *, reported: bool = True) -> None:
        """Set the replicas of an application; None or no replicas ends its reading. `reported`: whether its load is
        published.
        """
        if application is None or not application.replicas:
            self._watches.pop(key, None)
        elif watch := self._watches.get(key):
            watch.change(application)
        else:
            self._watches[key] = ApplicationWatch(
                *(key, application, self._reader, self._reports if reported else _Unreported()),
                resting=self._resting,
                clock=self._clock,
                policy=self._policy,
            )
        self._changed.set()

    def watch(self, key: Key) -> ApplicationWatch | None:
        """The watch of an application; None while it has no replicas to read."""
        return self._watches.get(key)

    def watches(self) -> Iterator[ApplicationWatch]:
        return iter(list(self._watches.values()))

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
                    running[watch] = tasks.create_task(watch.run(spread), name=f"load of {watch.key}")
                await self._changed.wait()
