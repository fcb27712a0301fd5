"""Reads every replica of every application a few times a second and reports how busy each is: gather, judge, report."""

import asyncio
import contextlib
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from arks.kit.clock import Clock
from arks.kit.errors import Unavailable
from arks.kit.reconcile import Key
from arks.metrics.config import Settings
from arks.metrics.domain.engines import EngineReader, reader_of
from arks.metrics.domain.gpus import Gpu, GpuUse, use_of
from arks.metrics.domain.rates import History, Windows, observe, rates
from arks.metrics.domain.readings import Application, Failure, Reading, Replica, Said, failed, retry_seconds, say
from arks.metrics.domain.rest import Idleness, first_seconds

log = structlog.get_logger(__name__)

_THIS_MACHINE = {"127.0.0.1", "::1", "localhost"}
_SPREAD_SECONDS = 0.002
"""Between the questions to two replicas of one application: a burst would queue behind itself and look slow."""


class Engines(Protocol):
    async def page(self, host: str, port: int) -> bytes:
        """The engine's metrics page. Raises Unavailable, which says in words what a person should know."""


class Reports(Protocol):
    async def publish(self, key: Key, said: Mapping[Replica, Said]) -> None:
        """Tell everybody who listens; never fails, never waits for an outage to end."""


class Gpus(Protocol):
    """The GPUs of this machine. Both methods block for some milliseconds."""

    def read(self) -> list[Gpu]:
        """Every GPU that answers."""

    def processes(self, ports: Collection[int]) -> dict[int, set[int]]:
        """By port of this machine: the processes of the engine that listens on it."""


@dataclass(slots=True)
class ReplicaState:
    """What is known of one replica since it started."""

    history: History = field(default_factory=History)
    reading: Reading | None = None
    failure: Failure | None = None
    failures: int = 0
    asked_at: float | None = None
    due_at: float = 0.0
    gpu: GpuUse | None = None
    idleness: Idleness | None = None
    task: asyncio.Task[None] | None = None


class ReplicaReader:
    """Asks one replica once and remembers the outcome. Bounded by the number of questions that are under way."""

    def __init__(self, engines: Engines, clock: Clock, settings: Settings) -> None:
        self._engines = engines
        self._clock = clock
        self._tick_seconds = settings.load_tick_seconds
        self._windows = Windows(settings.load_rate_window_seconds, settings.load_drain_window_seconds)
        self._places = asyncio.Semaphore(settings.load_concurrent_reads)
        self._silent_places = asyncio.Semaphore(settings.load_concurrent_silent_reads)

    async def read(self, replica: Replica, runtime: str, state: ReplicaState, delay_seconds: float) -> None:
        reader = reader_of(runtime)
        if reader is None:
            self._fail(state, f"no metrics are known of runtime {runtime!r}")
            return
        if delay_seconds:
            await asyncio.sleep(delay_seconds)
        async with self._silent_places if state.failure else self._places:
            await self._ask(replica, reader, state)

    async def _ask(self, replica: Replica, reader: EngineReader, state: ReplicaState) -> None:
        asked_at = state.asked_at = self._clock.monotonic()
        try:
            page = await self._engines.page(replica.host, replica.port)
            now = self._clock.monotonic()
            self._take(page, reader, state, now, now - asked_at)
        except Unavailable as error:
            self._fail(state, str(error))
        except Exception as error:  # the outermost loop of a replica: one odd page must not stop the others
            log.exception("replica could not be read", replica=replica.name, host=replica.host, port=replica.port)
            self._fail(state, f"could not be read: {type(error).__name__}")
        finally:
            state.asked_at = None

    def _take(self, page: bytes, reader: EngineReader, state: ReplicaState, now: float, read_seconds: float) -> None:
        snapshot = reader.read(page)
        if snapshot.problem:
            self._fail(state, snapshot.problem)
            return
        state.history = observe(state.history, snapshot, now, self._windows)
        state.reading = Reading(snapshot, rates(state.history), self._clock.now(), read_seconds)
        known = state.idleness
        state.idleness = known.after(snapshot, now) if known else Idleness.at_first(snapshot, now)
        state.failure = None

    def _fail(self, state: ReplicaState, reason: str) -> None:
        now = self._clock.monotonic()
        state.failures += 1
        state.failure = failed(state.failure, reason, now)
        state.due_at = now + retry_seconds(state.failure, self._tick_seconds) - self._tick_seconds / 2


class ApplicationWatch:
    """One application: a round of questions each tick, then one report."""

    def __init__(
        self,
        key: Key,
        application: Application,
        reader: ReplicaReader,
        reports: Reports,
        *,
        resting: set[Key],
        clock: Clock,
        settings: Settings,
    ) -> None:
        """`resting`: all applications whose only replica is idle, which this one enters and leaves."""
        self.key = key
        self._resting = resting
        self._changed = asyncio.Event()
        self._reader = reader
        self._reports = reports
        self._clock = clock
        self._tick_seconds = settings.load_tick_seconds
        self._late_seconds = settings.load_late_seconds
        self._states: dict[Replica, ReplicaState] = {}
        self._runtime = application.runtime
        self.change(application)

    def change(self, application: Application) -> None:
        """What is known of a replica that is still the same one stays."""
        if application.runtime != self._runtime:
            self._drop(list(self._states))
        self._runtime = application.runtime
        self._drop([replica for replica in self._states if replica not in application.replicas])
        self._states = {replica: self._states.get(replica) or ReplicaState() for replica in application.replicas}
        self._changed.set()

    def said(self) -> dict[Replica, Said]:
        """What there is to say of each replica now."""
        now = self._clock.monotonic()
        return {
            replica: replace(say(state.reading, state.failure, state.asked_at, now, self._late_seconds), gpu=state.gpu)
            for replica, state in self._states.items()
        }

    def local_ports(self) -> set[int]:
        """Ports of the replicas that run on this machine."""
        return {replica.port for replica in self._states if replica.host in _THIS_MACHINE}

    def take_gpus(self, uses: Mapping[int, GpuUse | None]) -> None:
        """By local port."""
        for replica, state in self._states.items():
            state.gpu = uses.get(replica.port) if replica.host in _THIS_MACHINE else None

    def failures(self) -> dict[Replica, int]:
        return {replica: state.failures for replica, state in self._states.items()}

    async def run(self, spread_seconds: float) -> None:
        """Until cancelled. Rounds keep their beat: a late one is skipped, not caught up. The first one comes within
        `spread_seconds`."""
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
            under_way = [state.task for state in self._states.values() if state.task]
            self._drop(list(self._states))
            await asyncio.gather(*under_way, return_exceptions=True)

    def _pause_seconds(self) -> float | None:
        """Until the next look where there is one replica and it is idle; None: as long as a tick leaves."""
        only = next(iter(self._states.values())) if len(self._states) == 1 else None
        idleness = only.idleness if only and only.failure is None and only.task is None else None
        if idleness is None or not idleness.idle:
            self._resting.discard(self.key)
            return None
        self._resting.add(self.key)
        pause = idleness.pause_seconds(len(self._resting), self._tick_seconds)
        return pause if pause > self._tick_seconds else None

    async def _rest(self, seconds: float) -> None:
        """Until the next look, or until it is another application."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _round(self) -> None:
        now = self._clock.monotonic()
        asked: list[asyncio.Task[None]] = []
        for replica, state in self._states.items():
            if state.task is None and state.due_at <= now:
                state.task = self._ask(replica, state, delay_seconds=len(asked) * self._spread_seconds())
                asked.append(state.task)
        if asked:
            await asyncio.wait(asked, timeout=self._tick_seconds * 0.75)
        await self._reports.publish(self.key, self.said())

    def _ask(self, replica: Replica, state: ReplicaState, delay_seconds: float) -> asyncio.Task[None]:
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


class Collector:
    """All applications. `change` may be called at any time; `run` does the work."""

    def __init__(self, engines: Engines, reports: Reports, clock: Clock, settings: Settings) -> None:
        self._reports = reports
        self._clock = clock
        self._settings = settings
        self._reader = ReplicaReader(engines, clock, settings)
        self._watches: dict[Key, ApplicationWatch] = {}
        self._resting: set[Key] = set()
        self._changed = asyncio.Event()

    def change(self, key: Key, application: Application | None) -> None:
        """The application's replicas are these now; None or no replicas: nothing to read."""
        if application is None or not application.replicas:
            self._watches.pop(key, None)
        elif watch := self._watches.get(key):
            watch.change(application)
        else:
            self._watches[key] = ApplicationWatch(
                *(key, application, self._reader, self._reports),
                resting=self._resting,
                clock=self._clock,
                settings=self._settings,
            )
        self._changed.set()

    def watches(self) -> Iterator[ApplicationWatch]:
        return iter(list(self._watches.values()))

    async def run(self) -> None:
        """Until cancelled: a task for each application there is."""
        running: dict[ApplicationWatch, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                wanted = set(self._watches.values())
                for watch in [watch for watch in running if watch not in wanted]:
                    running.pop(watch).cancel()
                new = wanted - running.keys()
                spread = first_seconds(len(new), self._settings.load_tick_seconds)
                for watch in new:
                    running[watch] = tasks.create_task(watch.run(spread), name=f"load of {watch.key}")
                await self._changed.wait()


class GpuWatch:
    """Looks at the GPUs of this machine and tells each application which share of them its replicas use."""

    def __init__(self, gpus: Gpus, collector: Collector, interval_seconds: float) -> None:
        self._gpus = gpus
        self._collector = collector
        self._interval_seconds = interval_seconds
        self.newest: list[Gpu] = []

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            watches = list(self._collector.watches())
            ports = set().union(*(watch.local_ports() for watch in watches))
            self.newest, uses = await asyncio.to_thread(self._look, ports)
            for watch in watches:
                watch.take_gpus(uses)
            await asyncio.sleep(self._interval_seconds)

    def _look(self, ports: set[int]) -> tuple[list[Gpu], dict[int, GpuUse | None]]:
        gpus = self._gpus.read()
        processes = self._gpus.processes(ports) if ports else {}
        return gpus, {port: use_of(gpus, found) for port, found in processes.items()}


def _phase(key: Key) -> float:
    """Where in the tick an application has its turn (0 to 1), so that they do not all have it at once."""
    return zlib.crc32(str(key).encode()) % 1000 / 1000
