"""Runs reconciles from a queue of keys, with backoff.

A key that is enqueued during its reconcile is reconciled once more afterwards, never concurrently.
"""

import asyncio
import heapq
import itertools
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from arks.kit.backoff import Backoff
from arks.kit.clock import Clock, SystemClock
from arks.kit.errors import ArksError
from arks.kit.key import Key
from arks.kit.tracing import NoTracer, Tracer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Requeue:
    """A reconcile returns it to be repeated later, with or without a change."""

    after_seconds: float


@dataclass(frozen=True, slots=True)
class Blocked:
    """A reconcile returns it if it cannot act before another object changes. The first pass still waits for the key."""


Reconcile = Callable[[Key], Awaitable[Requeue | Blocked | None]]


@dataclass(frozen=True, slots=True)
class FirstPass:
    """The keys to reconcile after a start before the service's facts are complete."""

    existing: Callable[[], Iterable[Key]]
    """Keys to reconcile once without error; read when the controller starts, after all caches have synced."""
    done: Callable[[], None]
    """Called once, after the last of them succeeded or was kept."""
    keep: Callable[[Key], None] = lambda key: None
    """Keeps the old fact of a key that still fails or waits after `limit_seconds`: one broken resource must not keep
    the facts of all that were deleted."""
    limit_seconds: float = 60.0


class Controller:
    """Runs `reconcile` for each enqueued key, at most `workers` keys at a time."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        *,
        workers: int = 8,
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        first_pass: FirstPass | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.name = name
        self.running = False
        """Whether `run` has been called: on Kubernetes, whether this replica of the service leads."""
        self.passed = False
        """Whether the first pass is done."""
        self._reconcile = reconcile
        self._workers = workers
        self._backoff = backoff or Backoff()
        self._clock = clock or SystemClock()
        self._first_pass = first_pass
        self._tracer = tracer or NoTracer()
        self._remaining: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._order = itertools.count()
        self._busy: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self._wakes_at = math.inf
        """When `run` looks at the queue by itself, in monotonic seconds."""
        self._idle = asyncio.Event()
        self._idle.set()

    def enqueue(self, key: Key, after_seconds: float = 0.0) -> None:
        """Queue `key`, optionally after a delay; the earlier time wins."""
        due = self._clock.monotonic() + after_seconds
        if self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, next(self._order), key))
        if due < self._wakes_at:
            self._wake.set()

    async def run(self) -> None:
        """Reconcile until cancelled. This cancels running reconciles too, so call `drain` first."""
        self.running = True
        self._begin_first_pass()
        async with asyncio.TaskGroup() as tasks:
            if self._remaining:
                tasks.create_task(self._limit_first_pass(), name=f"{self.name} first pass")
            while True:
                self._wake.clear()
                while len(self._busy) < self._workers and (key := self._pop()) is not None:
                    self._busy.add(key)
                    self._idle.clear()
                    tasks.create_task(self._work(key), name=f"{self.name} {key}")
                await self._sleep()

    async def drain(self) -> None:
        """Wait until no reconcile runs. New ones may still start unless `run` was cancelled."""
        await self._idle.wait()

    # --- first pass

    def _begin_first_pass(self) -> None:
        if self._first_pass is not None:
            self._remaining = set(self._first_pass.existing())
            for key in self._remaining:
                self.enqueue(key)
            self._end_first_pass()

    async def _limit_first_pass(self) -> None:
        if self._first_pass is None:
            return
        await asyncio.sleep(self._first_pass.limit_seconds)
        if self._remaining:
            names = [str(key) for key in sorted(self._remaining)[:5]]
            log.warning("first pass goes on without", controller=self.name, keys=len(self._remaining), first=names)
        for key in self._remaining:
            self._first_pass.keep(key)
        self._remaining.clear()
        self._end_first_pass()

    def _end_first_pass(self) -> None:
        if self._first_pass is not None and not self._remaining and not self.passed:
            self.passed = True
            self._first_pass.done()

    # --- queue

    def _pop(self) -> Key | None:
        """Return the next due key that is not being reconciled; busy keys stay queued."""
        now = self._clock.monotonic()
        held: list[tuple[float, int, Key]] = []
        found: Key | None = None
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            due, _, key = entry
            if self._due.get(key) != due:
                continue
            if key in self._busy:
                held.append(entry)
                continue
            del self._due[key]
            found = key
            break
        for entry in held:
            heapq.heappush(self._heap, entry)
        return found

    async def _sleep(self) -> None:
        free = len(self._busy) < self._workers
        due = self._next_due() if free else None
        self._wakes_at = math.inf if due is None else due
        timeout = None if due is None else max(0.0, due - self._clock.monotonic())
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _next_due(self) -> float | None:
        """Return when the next key that is not busy is due; this is nearly always the first key."""
        if not self._heap:
            return None
        due, _, key = self._heap[0]
        if key not in self._busy:
            return due
        return next((due for due, _, key in sorted(self._heap[:64]) if key not in self._busy), None)

    # --- work

    async def _work(self, key: Key) -> None:
        try:
            self._succeeded(key, await self._traced(key))
        except Exception as error:  # noqa: BLE001  # the outermost loop of every controller: one bad key must not stop the rest
            self._failed(key, error)
        finally:
            self._busy.discard(key)
            self._wake.set()
            if not self._busy:
                self._idle.set()

    async def _traced(self, key: Key) -> Requeue | Blocked | None:
        if not self._tracer.enabled:
            return await self._reconcile(key)
        names = {"arks.controller": self.name, "arks.namespace": key.namespace, "arks.name": key.name}
        with self._tracer.span(f"reconcile {self.name}", names) as span:
            result = await self._reconcile(key)
            span.set("arks.result", "done" if result is None else type(result).__name__.lower())
            return result

    def _succeeded(self, key: Key, result: Requeue | Blocked | None) -> None:
        self._failures.pop(key, None)
        if isinstance(result, Requeue):
            self.enqueue(key, result.after_seconds)
        if not isinstance(result, Blocked):
            self._remaining.discard(key)
            self._end_first_pass()

    def _failed(self, key: Key, error: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay_seconds(failures)
        expected = isinstance(error, ArksError)
        log.warning(
            "reconcile failed",
            controller=self.name,
            key=str(key),
            error=str(error) or type(error).__name__,
            retry_seconds=delay,
            exc_info=None if expected else error,
        )
        self.enqueue(key, delay)
