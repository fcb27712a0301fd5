"""The rounds of one application: query replicas, publish a report, pause while idle."""

import asyncio
import contextlib
import math
import zlib
from collections.abc import Mapping
from dataclasses import replace

from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.metrics.domain.engines import missing, reader_of
from arks.metrics.domain.gpus import GpuUse
from arks.metrics.domain.idle import report_seconds
from arks.metrics.domain.replicas import Application, Replica, ReplicaReport, report_of
from arks.metrics.service.ports import ReadPolicy, Reports
from arks.metrics.service.reader import ReplicaReader, ReplicaRecord

_THIS_MACHINE = {"127.0.0.1", "::1", "localhost"}
_SPREAD_SECONDS = 0.002
"""Between the queries to two replicas of one application: a burst would queue behind itself and look slow."""


class ApplicationWatch:
    """Reads one application: each tick queries its replicas, then publishes one report."""

    def __init__(
        self,
        key: Key,
        application: Application,
        reader: ReplicaReader,
        reports: Reports,
        *,
        resting: set[Key],
        clock: Clock,
        policy: ReadPolicy,
    ) -> None:
        """`resting`: shared set of the applications whose only replica is idle; this watch adds and removes its own."""
        self.key = key
        self._resting = resting
        self._changed = asyncio.Event()
        self._reader = reader
        self._reports = reports
        self._clock = clock
        self._tick_seconds = policy.tick_seconds
        self._late_seconds = policy.late_seconds
        self._states: dict[Replica, ReplicaRecord] = {}
        self._published_at = -math.inf
        self._runtime = application.runtime
        self.read_since: float | None = None
        """Monotonic time of the end of the first round."""
        self.change(application)

    def change(self, application: Application) -> None:
        """Take over the new list of replicas. Measurements of replicas that are on both lists are kept."""
        if application.runtime != self._runtime:
            self._drop(list(self._states))
        self._runtime = application.runtime
        self._drop([replica for replica in self._states if replica not in application.replicas])
        self._states = {replica: self._states.get(replica) or ReplicaRecord() for replica in application.replicas}
        self.publish_next()

    def publish_next(self) -> None:
        """Publish a report with the next reading, which is made soon, whatever is idle."""
        self._published_at = -math.inf
        self._changed.set()

    def reports(self) -> dict[Replica, ReplicaReport]:
        """The entry of each replica in a load report made now."""
        now = self._clock.monotonic()
        return {
            replica: replace(
                report_of(state.reading, state.failure, state.queried_at, now, self._late_seconds),
                gpu=state.gpu,
                stalled_seconds=self._stalled_seconds(state),
                held=state.held and not state.failure,
                version=state.version or "",
                missing=missing(state.reading.snapshot) if state.reading is not None else (),
            )
            for replica, state in self._states.items()
        }

    def _stalled_seconds(self, state: ReplicaRecord) -> float:
        if state.stall is None or state.failure is not None:
            return 0.0
        reader = reader_of(self._runtime)
        return state.stall.seconds if reader is not None and reader.shows_movement else 0.0

    @property
    def size(self) -> int:
        """Replicas that are read."""
        return len(self._states)

    def local_ports(self) -> set[int]:
        """Ports of the replicas that run on this machine."""
        return {replica.port for replica in self._states if replica.host in _THIS_MACHINE}

    def take_gpus(self, uses: Mapping[int, GpuUse | None]) -> None:
        """Record the use of GPUs. `uses`: by port of this machine."""
        for replica, state in self._states.items():
            state.gpu = uses.get(replica.port) if replica.host in _THIS_MACHINE else None

    def failures(self) -> dict[Replica, int]:
        return {replica: state.failures for replica, state in self._states.items()}

    async def run(self, spread_seconds: float) -> None:
        """Run until cancelled. The first round starts within `spread_seconds`; a late round is skipped."""
        loop = asyncio.get_running_loop()
        tick = self._tick_seconds
        due = loop.time() + _phase(self.key) * spread_seconds
        try:
            while True:
                now = loop.time()
                if now < due:
                    await asyncio.sleep(due - now)
                due = max(due + tick, loop.time())
                await self._round()
                if (pause := self._pause_seconds()) is not None:
                    await self._rest(pause)
                    due = loop.time()
        finally:
            self._resting.discard(self.key)
            in_flight = [state.task for state in self._states.values() if state.task]
            self._drop(list(self._states))
            await asyncio.gather(*in_flight, return_exceptions=True)

    def _pause_seconds(self) -> float | None:
        """Pause before the next round if the only replica is idle; None keeps the interval of a tick."""
        only = next(iter(self._states.values())) if len(self._states) == 1 else None
        idleness = only.idleness if only and only.failure is None and only.task is None else None
        if idleness is None or not idleness.idle:
            self._resting.discard(self.key)
            return None
        self._resting.add(self.key)
        pause = idleness.pause_seconds(len(self._resting), self._tick_seconds)
        return pause if pause > self._tick_seconds else None

    async def _rest(self, seconds: float) -> None:
        """Wait for `seconds`, or until the list of replicas changes."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _round(self) -> None:
        now = self._clock.monotonic()
        queries: list[asyncio.Task[None]] = []
        for replica, state in self._states.items():
            if state.task is None and state.due_at <= now:
                state.task = self._start_query(replica, state, delay_seconds=len(queries) * self._spread_seconds())
                queries.append(state.task)
        if queries:
            await asyncio.wait(queries, timeout=self._tick_seconds * 0.75)
        now = self._clock.monotonic()
        if self.read_since is None:
            self.read_since = now
        if not self._rests() or now - self._published_at >= report_seconds(self.size):
            self._published_at = now
            await self._reports.publish(self.key, self.reports())

    def _rests(self) -> bool:
        """Return whether nothing is new: no replica has had work for a while, and all have answered."""
        return all(
            state.idleness is not None and state.idleness.rests and state.failure is None and state.task is None
            for state in self._states.values()
        )

    def _start_query(self, replica: Replica, state: ReplicaRecord, delay_seconds: float) -> asyncio.Task[None]:
        def done(_: asyncio.Task[None]) -> None:
            state.task = None

        task = asyncio.create_task(self._reader.read(replica, self._runtime, state, delay_seconds))
        task.add_done_callback(done)
        return task

    def _spread_seconds(self) -> float:
        return min(_SPREAD_SECONDS, self._tick_seconds / 2 / len(self._states))

    def _drop(self, replicas: list[Replica]) -> None:
        for replica in replicas:
            if task := self._states.pop(replica).task:
                task.cancel()


def _phase(key: Key) -> float:
    """The application's offset in the tick (0 to 1), so that applications do not all run at the same moment."""
    return zlib.crc32(str(key).encode()) % 1000 / 1000
