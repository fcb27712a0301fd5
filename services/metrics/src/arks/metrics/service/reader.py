"""Read one replica: query its page, derive rates, record a reading or a failure."""

import asyncio
from dataclasses import dataclass, field, replace

import structlog

from arks.kit.clock import Clock
from arks.kit.errors import Unavailable
from arks.metrics.domain.engines import EngineReader, reader_of
from arks.metrics.domain.gpus import GpuUse
from arks.metrics.domain.idle import Idleness
from arks.metrics.domain.page import Layout
from arks.metrics.domain.rates import History, observe, rates
from arks.metrics.domain.replicas import Failure, Reading, Replica, failed, retry_seconds
from arks.metrics.domain.stall import Stall
from arks.metrics.service.ports import Engines, ReadPolicy

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class ReplicaRecord:
    """The measurements of one replica since it started."""

    history: History = field(default_factory=History)
    reading: Reading | None = None
    failure: Failure | None = None
    failures: int = 0
    queried_at: float | None = None
    due_at: float = 0.0
    gpu: GpuUse | None = None
    idleness: Idleness | None = None
    stall: Stall | None = None
    layout: Layout = field(default_factory=Layout)
    held: bool = False
    version: str | None = None
    """What its page looks like; None until it was read."""
    task: asyncio.Task[None] | None = None


class ReplicaReader:
    """Reads one replica once and records the outcome. Semaphores bound the number of queries in flight."""

    def __init__(self, engines: Engines, clock: Clock, policy: ReadPolicy) -> None:
        self._engines = engines
        self._clock = clock
        self._tick_seconds = policy.tick_seconds
        self._windows = policy.windows
        self._slots = asyncio.Semaphore(policy.concurrent_reads)
        self._silent_slots = asyncio.Semaphore(policy.concurrent_silent_reads)

    async def read(self, replica: Replica, runtime: str, state: ReplicaRecord, delay_seconds: float) -> None:
        reader = reader_of(runtime)
        if reader is None:
            self._fail(state, f"no metrics are known of runtime {runtime!r}")
            return
        if delay_seconds:
            await asyncio.sleep(delay_seconds)
        async with self._silent_slots if state.failure else self._slots:
            await self._query(replica, reader, state)

    async def _query(self, replica: Replica, reader: EngineReader, state: ReplicaRecord) -> None:
        queried_at = state.queried_at = self._clock.monotonic()
        try:
            page = await self._engines.page(replica.host, replica.port)
            now = self._clock.monotonic()
            self._record(page, reader, state, now, now - queried_at)
        except Unavailable as error:
            self._fail(state, str(error))
        except (
            Exception
        ) as error:  # the outermost loop of a replica: an unexpected page of one must not stop the others
            log.exception("replica could not be read", replica=replica.name, host=replica.host, port=replica.port)
            self._fail(state, f"could not be read: {type(error).__name__}")
        finally:
            state.queried_at = None

    def _record(self, page: bytes, reader: EngineReader, state: ReplicaRecord, now: float, read_seconds: float) -> None:
        snapshot = reader.read(page, state.layout)
        if snapshot.problem:
            self._fail(state, snapshot.problem)
            return
        if reader.shows_movement or reader.holds_gauges:
            state.stall = state.stall.after(snapshot, now) if state.stall else Stall(now, snapshot)
        state.held = reader.holds_gauges and state.stall is not None and state.stall.held
        if state.version is None:
            state.version = reader.version(page)
        present = replace(snapshot, running_requests=0.0) if state.held else snapshot
        state.history = observe(state.history, present, now, self._windows)
        state.reading = Reading(snapshot, rates(state.history), self._clock.now(), read_seconds)
        before = state.idleness
        state.idleness = before.after(present, now) if before else Idleness.at_first(present, now)
        state.failure = None

    def _fail(self, state: ReplicaRecord, reason: str) -> None:
        now = self._clock.monotonic()
        state.failures += 1
        state.failure = failed(state.failure, reason, now)
        state.due_at = now + retry_seconds(state.failure, self._tick_seconds) - self._tick_seconds / 2
