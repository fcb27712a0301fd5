"""One replica on one machine: its engine from start to end, and what is known of it in between."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from arks.app_deployer.adapters.local.files import Directory, Launch, ReadyMark
from arks.app_deployer.adapters.local.process import Ending, Engine
from arks.app_deployer.domain.workload import CRASH_LOOP_FAILURES, Change, Replica, ReplicaState, ReplicaVerb
from arks.kit.clock import Clock
from arks.kit.reconcile import Backoff, Key

_HOST = "127.0.0.1"
_DRAIN_LOOK_SECONDS = 0.1
_IDLE_LOOKS = 2
"""A request may just be between the router and the engine."""


class Probe(Protocol):
    async def healthy(self, port: int) -> bool: ...
    async def problem(self, port: int, model: str) -> str | None: ...
    async def busy(self, port: int) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Pace:
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
class Surroundings:
    """What replicas share."""

    probe: Probe
    pace: Pace
    clock: Clock
    own: Callable[[Coroutine[Any, Any, None]], None]
    """Runs something in the background until it ends or everything closes."""
    changed: Callable[[Change], None]
    started: Callable[[float], None]
    """Told the seconds from start to ready."""


class LocalReplica:
    def __init__(self, key: Key, name: str, directory: Directory, around: Surroundings) -> None:
        self.key = key
        self.name = name
        self.directory = directory
        self.launch: Launch | None = None
        self.state = ReplicaState.STARTING
        self.due_at = 0.0
        """By the monotonic clock: when an ended one may start again."""
        self.gone = asyncio.Event()
        """It has left for good."""
        self._around = around
        self._engine: Engine | None = None
        self._ready_at: float | None = None
        self._failures = 0
        self._message = ""
        self._leaving = False

    # --- what is known

    @property
    def restarts(self) -> int:
        return self.launch.restarts if self.launch else 0

    @property
    def failures(self) -> int:
        return self._failures

    @property
    def ended(self) -> bool:
        return self._engine is None

    def snapshot(self, revision: str | None) -> Replica:
        """`revision`: what the newest spec is called; None when there is none."""
        launch = self.launch
        return Replica(
            name=self.name,
            state=self.state,
            host=_HOST,
            port=launch.port if launch else 0,
            updated=revision is None or launch is None or launch.revision == revision,
            slots=launch.slots if launch else 0,
            restarts=self.restarts,
            failures=self._failures,
            message=self._message,
        )

    # --- life

    async def start(self, launch: Launch, environment: Mapping[str, str]) -> None:
        """Raises Unavailable."""
        self.launch = launch
        self.state, self._ready_at = ReplicaState.STARTING, None
        self._engine = await Engine.start(self.directory, launch, environment)
        self._tell(ReplicaVerb.STARTED, "Started", f"{self.name} starts on port {launch.port}")
        self._around.own(self._supervise(self._engine))

    async def adopt(self) -> None:
        """Take over what an earlier app-deployer has left: a running engine, or the remains of one."""
        self.launch = self.directory.launch
        self._failures = self.launch.failures if self.launch else 0
        self._engine = await Engine.adopt(self.directory)
        if self._engine is None:
            state = self.directory.state
            self._note_failure(Ending(state.exit_code if state else None))
            if state is not None and state.asked:
                self.leave(0.0)
            return
        mark = self.directory.ready
        if mark is not None and (mark.pid, mark.start_ticks) == (self._engine.pid, self._engine.start_ticks):
            self.state, self._ready_at = ReplicaState.READY, mark.ready_at
        self._around.own(self._supervise(self._engine))

    def leave(self, grace_seconds: float) -> None:
        """Drain within the grace time, then end for good. More than once does no more."""
        if self._leaving:
            return
        self._leaving = True
        self.state = ReplicaState.DRAINING
        if self._engine is None:
            self._depart()
        else:
            self._tell()
            self._around.own(self._drain(self._engine, grace_seconds))

    async def _supervise(self, engine: Engine) -> None:
        health = asyncio.create_task(self._health(engine))
        ended = asyncio.create_task(engine.ended.wait())
        try:
            await asyncio.wait({health, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not engine.ended.is_set():
                engine.kill()
            why = health.result() if health.done() else None
            self._become(ReplicaState.BACK_OFF)  # at once: the router must not send it anything more
            self._end(await engine.ending(), why)
        finally:
            health.cancel()
            ended.cancel()
            await asyncio.gather(health, ended, return_exceptions=True)
            engine.close()

    def _end(self, ending: Ending, why: str | None) -> None:
        self._engine = None
        if self._leaving:
            self._depart()
            return
        self._note_failure(ending, why)
        lines = tuple(self.directory.last_lines())
        self._tell(ReplicaVerb.EXITED, "EngineEnded", f"{self.name}: {self._message}", lines)

    def _depart(self) -> None:
        self.directory.remove()
        self.gone.set()
        self._tell(ReplicaVerb.EXITED, "Stopped", f"{self.name} has left as it should")

    def _note_failure(self, ending: Ending, why: str | None = None) -> None:
        pace, clock = self._around.pace, self._around.clock
        if self._ready_at is not None and clock.now().timestamp() - self._ready_at >= pace.stable_seconds:
            self._failures = 0
        self._failures += 1
        self._ready_at = None
        delay = pace.backoff.delay_seconds(self._failures - 1) if self._failures > 1 else 0.0
        self.due_at = clock.monotonic() + delay
        self.state = ReplicaState.FAILED if self._failures >= CRASH_LOOP_FAILURES else ReplicaState.BACK_OFF
        lines = self.directory.last_lines()
        self._message = (why or str(ending)) + ("; its last lines: " + "\n".join(lines) if lines else "")

    # --- health

    async def _health(self, engine: Engine) -> str:
        """Follows the engine while it is well; returns why it must be ended."""
        if self.state is not ReplicaState.READY and (trouble := await self._bring_up(engine)):
            return trouble
        return await self._keep_watch()

    async def _bring_up(self, engine: Engine) -> str | None:
        """None once the model has answered."""
        clock, pace, port = self._around.clock, self._around.pace, self._port
        deadline = clock.monotonic() + pace.start_seconds
        trouble: str | None = "it does not answer on /health"
        while clock.monotonic() < deadline:
            if await self._around.probe.healthy(port):
                self._become(ReplicaState.LOADING)
                trouble = await self._around.probe.problem(port, self.launch.served_model if self.launch else "")
                if trouble is None:
                    self._answered(engine)
                    return None
            await asyncio.sleep(pace.probe_seconds)
        return f"it was not ready within {pace.start_seconds:.0f} s: {trouble}"

    def _answered(self, engine: Engine) -> None:
        now = self._around.clock.now().timestamp()
        self._ready_at, self._message = now, ""
        with contextlib.suppress(OSError):  # a full disk: the next app-deployer asks the engine once more
            self.directory.write_ready(ReadyMark(engine.pid, engine.start_ticks, now))
        seconds = max(0.0, now - engine.started_at)
        self._around.started(seconds)
        self._become(ReplicaState.READY, ReplicaVerb.READY, f"{self.name} serves, {seconds:.1f} s after its start")

    async def _keep_watch(self) -> str:
        """Returns when the engine has hung; while it is silent for a shorter time, it gets no traffic."""
        clock, pace = self._around.clock, self._around.pace
        answered, silent = clock.monotonic(), 0.0
        while silent < pace.hung_seconds:
            await asyncio.sleep(pace.liveness_seconds)
            if await self._around.probe.healthy(self._port):
                answered, silent = clock.monotonic(), 0.0
                self._become(ReplicaState.READY)
                continue
            silent = clock.monotonic() - answered
            if silent >= pace.hung_seconds / 2:
                self._become(ReplicaState.LOADING)
        return f"it did not answer on /health for {silent:.0f} s and was ended"

    # --- the end that is wanted

    async def _drain(self, engine: Engine, grace_seconds: float) -> None:
        pace, clock = self._around.pace, self._around.clock
        deadline = clock.monotonic() + grace_seconds
        await asyncio.sleep(min(pace.settle_seconds, grace_seconds))
        idle = 0
        while clock.monotonic() < deadline and idle < _IDLE_LOOKS and not engine.ended.is_set():
            idle = idle + 1 if await self._around.probe.busy(self._port) == 0 else 0
            await asyncio.sleep(_DRAIN_LOOK_SECONDS)
        if engine.ended.is_set():
            return
        engine.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pace.kill_seconds + 1.0):
                await engine.ended.wait()
        if not engine.ended.is_set():
            engine.kill()

    # --- telling

    @property
    def _port(self) -> int:
        return self.launch.port if self.launch else 0

    def _become(self, state: ReplicaState, verb: ReplicaVerb | None = None, message: str = "") -> None:
        """Draining stays draining, whatever else happens."""
        if self._leaving or (self.state is state and verb is None):
            return
        self.state = state
        self._tell(verb, "Ready" if verb is ReplicaVerb.READY else "", message)

    def _tell(
        self, verb: ReplicaVerb | None = None, reason: str = "", message: str = "", last_lines: tuple[str, ...] = ()
    ) -> None:
        change = Change(self.key.namespace, self.key.name)
        if verb is not None:
            change = replace(
                change, replica=self.name, verb=verb, reason=reason, message=message, last_lines=last_lines
            )
        self._around.changed(change)
