"""One replica on one machine: starts, adopts, watches, drains and stops its engine."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from arks.app_deployer.adapters.local.files import Directory, Launch, ReadyMark
from arks.app_deployer.adapters.local.process import Ending, Engine
from arks.app_deployer.domain.start_phases import StartPhases
from arks.app_deployer.domain.workload import (
    CRASH_LOOP_FAILURES,
    ENGINE_ENDED,
    ENGINE_STUCK,
    Change,
    ObservedReplica,
    ReplicaVerb,
)
from arks.contracts.resources import InstanceState
from arks.kit.backoff import Backoff
from arks.kit.clock import Clock
from arks.kit.key import Key

_HOST = "127.0.0.1"
_DRAIN_LOOK_SECONDS = 0.1
_IDLE_LOOKS = 2
"""Two polls, because a request may be between the router and the engine."""


class Probe(Protocol):
    async def healthy(self, port: int) -> bool: ...
    async def problem(self, port: int, model: str) -> str | None: ...
    async def busy(self, port: int) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Timings:
    """See config.py."""

    probe_seconds: float
    liveness_seconds: float
    hung_seconds: float
    start_seconds: float
    settle_seconds: float
    kill_seconds: float
    stable_seconds: float
    backoff: Backoff


@dataclass(frozen=True, slots=True)
class ReplicaDeps:
    """What all replicas use."""

    probe: Probe
    timings: Timings
    clock: Clock
    start_task: Callable[[Coroutine[Any, Any, None]], None]
    """Runs something in the background until it ends or everything closes."""
    changed: Callable[[Change], None]
    started: Callable[[StartPhases], None]
    """Records how long a start took."""


class LocalReplica:
    def __init__(self, key: Key, name: str, directory: Directory, deps: ReplicaDeps) -> None:
        self.key = key
        self.name = name
        self.directory = directory
        self.launch: Launch | None = None
        self.state = InstanceState.STARTING
        self.due_at = 0.0
        """By the monotonic clock: when an ended one may start again."""
        self.removed = asyncio.Event()
        """Set once the engine has ended after a drain and its directory is deleted."""
        self._deps = deps
        self._engine: Engine | None = None
        self._ready_at: float | None = None
        self._loaded_at: float | None = None
        """When its server first answered, in seconds since the epoch."""
        self._start: StartPhases | None = None
        self._failures = 0
        self._message = ""
        self._is_draining = False
        self._stuck: asyncio.Future[str] | None = None

    # --- state

    @property
    def restarts(self) -> int:
        return self.launch.restarts if self.launch else 0

    @property
    def failures(self) -> int:
        return self._failures

    @property
    def ended(self) -> bool:
        return self._engine is None

    def snapshot(self, revision: str | None) -> ObservedReplica:
        """The replica as the domain sees it. `revision`: of the newest spec; None if unknown."""
        launch = self.launch
        return ObservedReplica(
            name=self.name,
            state=self.state,
            host=_HOST,
            port=launch.port if launch else 0,
            updated=revision is None or launch is None or launch.revision == revision,
            slots=launch.slots if launch else 0,
            restarts=self.restarts,
            failures=self._failures,
            message=self._message,
            start=self._start,
        )

    # --- life

    async def start(self, launch: Launch, environment: Mapping[str, str]) -> None:
        """Raises Unavailable."""
        self.launch = launch
        self.state, self._ready_at, self._loaded_at, self._start = InstanceState.STARTING, None, None, None
        self._engine = await Engine.start(self.directory, launch, environment)
        self._publish_change(ReplicaVerb.STARTED, "Started", f"{self.name} starts on port {launch.port}")
        self._deps.start_task(self._supervise(self._engine))

    async def adopt(self) -> None:
        """Adopt the engine of this directory; one that has ended counts as failed."""
        self.launch = self.directory.launch
        self._failures = self.launch.failures if self.launch else 0
        self._engine = await Engine.adopt(self.directory)
        if self._engine is None:
            state = self.directory.state
            self._record_failure(Ending(state.exit_code if state else None))
            if state is not None and state.stop_requested:
                self.drain(0.0)
            return
        mark = self.directory.ready
        if mark is not None and (mark.pid, mark.start_ticks) == (self._engine.pid, self._engine.start_ticks):
            self.state, self._ready_at = InstanceState.READY, mark.ready_at
            if mark.load_seconds is not None:
                self._start = StartPhases(mark.load_seconds, mark.warm_up_seconds)
        self._deps.start_task(self._supervise(self._engine))

    def end_stuck(self, port: int, why: str) -> bool:
        """End the engine at `port`. False if it is not ready."""
        stuck = self._stuck
        if self.state is not InstanceState.READY or port != self._port or stuck is None or stuck.done():
            return False
        stuck.set_result(why)
        return True

    def drain(self, grace_seconds: float) -> None:
        """Finish running requests within the grace time, then stop. Repeated calls have no effect."""
        if self._is_draining:
            return
        self._is_draining = True
        self.state = InstanceState.DRAINING
        if self._engine is None:
            self._finish_removal()
        else:
            self._publish_change()
            self._deps.start_task(self._drain_engine(self._engine, grace_seconds))

    async def _supervise(self, engine: Engine) -> None:
        health = asyncio.create_task(self._health(engine))
        ended = asyncio.create_task(engine.ended.wait())
        stuck: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stuck = stuck
        try:
            waits: set[asyncio.Future[Any]] = {health, ended, stuck}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not engine.ended.is_set():
                engine.kill()
            why = health.result() if health.done() else None
            self._set_state(InstanceState.BACK_OFF)  # at once: the router must stop sending requests
            ending = await engine.ending()
            if stuck.done():
                self._remove(ending, f"{stuck.result()} and was ended", ENGINE_STUCK)
            else:
                self._remove(ending, why)
        finally:
            health.cancel()
            ended.cancel()
            await asyncio.gather(health, ended, return_exceptions=True)
            engine.close()

    def _remove(self, ending: Ending, why: str | None, reason: str = ENGINE_ENDED) -> None:
        self._engine = None
        if self._is_draining:
            self._finish_removal()
            return
        self._record_failure(ending, why)
        lines = tuple(self.directory.last_lines())
        self._publish_change(ReplicaVerb.EXITED, reason, f"{self.name}: {self._message}", lines)

    def _finish_removal(self) -> None:
        self.directory.remove()
        self.removed.set()
        self._publish_change(ReplicaVerb.EXITED, "Stopped", f"{self.name} stopped cleanly")

    def _record_failure(self, ending: Ending, why: str | None = None) -> None:
        timings, clock = self._deps.timings, self._deps.clock
        if self._ready_at is not None and clock.timestamp() - self._ready_at >= timings.stable_seconds:
            self._failures = 0
        self._failures += 1
        self._ready_at = None
        delay = timings.backoff.delay_seconds(self._failures - 1) if self._failures > 1 else 0.0
        self.due_at = clock.monotonic() + delay
        self.state = InstanceState.FAILED if self._failures >= CRASH_LOOP_FAILURES else InstanceState.BACK_OFF
        lines = self.directory.last_lines()
        self._message = (why or str(ending)) + ("; its last lines: " + "\n".join(lines) if lines else "")

    # --- health

    async def _health(self, engine: Engine) -> str:
        """Watch the engine's health; returns the reason to kill it."""
        if self.state is not InstanceState.READY and (trouble := await self._wait_until_ready(engine)):
            return trouble
        return await self._watch_health()

    async def _wait_until_ready(self, engine: Engine) -> str | None:
        """None once the model has answered."""
        clock, timings, port = self._deps.clock, self._deps.timings, self._port
        deadline = clock.monotonic() + timings.start_seconds
        trouble: str | None = "it does not answer on /health"
        while clock.monotonic() < deadline:
            if await self._deps.probe.healthy(port):
                self._loaded_at = self._loaded_at or clock.timestamp()
                self._set_state(InstanceState.LOADING)
                trouble = await self._deps.probe.problem(port, self.launch.served_model if self.launch else "")
                if trouble is None:
                    self._mark_ready(engine)
                    return None
            await asyncio.sleep(timings.probe_seconds)
        return f"it was not ready within {timings.start_seconds:.0f} s: {trouble}"

    def _mark_ready(self, engine: Engine) -> None:
        now = self._deps.clock.timestamp()
        self._ready_at, self._message = now, ""
        self._start = phases = StartPhases.of(engine.started_at, self._loaded_at or now, now)
        mark = ReadyMark(engine.pid, engine.start_ticks, now, phases.load_seconds, phases.warm_up_seconds or 0.0)
        with contextlib.suppress(OSError):  # full disk: after a restart the engine is queried once more
            self.directory.write_ready(mark)
        self._deps.started(phases)
        self._set_state(InstanceState.READY, ReplicaVerb.READY, f"{self.name} ready after {phases}")

    async def _watch_health(self) -> str:
        """Watch /health; returns once the engine hangs. After half of that time it gets no traffic."""
        clock, timings = self._deps.clock, self._deps.timings
        answered, silent = clock.monotonic(), 0.0
        while silent < timings.hung_seconds:
            await asyncio.sleep(timings.liveness_seconds)
            if await self._deps.probe.healthy(self._port):
                answered, silent = clock.monotonic(), 0.0
                self._set_state(InstanceState.READY)
                continue
            silent = clock.monotonic() - answered
            if silent >= timings.hung_seconds / 2:
                self._set_state(InstanceState.LOADING)
        return f"it did not answer on /health for {silent:.0f} s and was ended"

    # --- drain

    async def _drain_engine(self, engine: Engine, grace_seconds: float) -> None:
        timings, clock = self._deps.timings, self._deps.clock
        deadline = clock.monotonic() + grace_seconds
        await asyncio.sleep(min(timings.settle_seconds, grace_seconds))
        idle = 0
        while clock.monotonic() < deadline and idle < _IDLE_LOOKS and not engine.ended.is_set():
            idle = idle + 1 if await self._deps.probe.busy(self._port) == 0 else 0
            await asyncio.sleep(_DRAIN_LOOK_SECONDS)
        if engine.ended.is_set():
            return
        engine.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timings.kill_seconds + 1.0):
                await engine.ended.wait()
        if not engine.ended.is_set():
            engine.kill()

    # --- changes

    @property
    def _port(self) -> int:
        return self.launch.port if self.launch else 0

    def _set_state(self, state: InstanceState, verb: ReplicaVerb | None = None, message: str = "") -> None:
        """Change the state; a draining replica stays draining."""
        if self._is_draining or (self.state is state and verb is None):
            return
        self.state = state
        self._publish_change(verb, "Ready" if verb is ReplicaVerb.READY else "", message)

    def _publish_change(
        self, verb: ReplicaVerb | None = None, reason: str = "", message: str = "", last_lines: tuple[str, ...] = ()
    ) -> None:
        change = Change(self.key.namespace, self.key.name)
        if verb is not None:
            change = replace(
                change, replica=self.name, verb=verb, reason=reason, message=message, last_lines=last_lines
            )
        self._deps.changed(change)
