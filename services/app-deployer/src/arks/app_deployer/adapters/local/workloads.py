"""Workloads on one machine: every replica an engine process, moved towards what is wanted one step at a time."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog

from arks.app_deployer.adapters.local import machine
from arks.app_deployer.adapters.local.files import EngineDirectories, Launch
from arks.app_deployer.adapters.local.process import start_ticks_of
from arks.app_deployer.adapters.local.replica import LocalReplica, Pace, Probe, Surroundings
from arks.app_deployer.adapters.local.runtimes import Demand, LocalRuntimes, Refused
from arks.app_deployer.adapters.metrics import EngineMeters
from arks.app_deployer.domain import checks, rollout
from arks.app_deployer.domain.launch.local_commands import EngineParameters
from arks.app_deployer.domain.workload import Change, Machine, Observed, Refusal, ReplicaState, Workload
from arks.contracts.resources import ArksApplication, ArksApplicationSpec, Runtime
from arks.kit.clock import Clock
from arks.kit.errors import Unavailable
from arks.kit.process import free_port
from arks.kit.reconcile import Key

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 2.0
"""Memory and files change without telling us."""


def this_machine() -> Machine:
    programs = frozenset(name for name in checks.GPU_PROGRAMS.values() if machine.has_program(name))
    return Machine(machine.usable_cpus(), machine.available_memory_bytes(), machine.has_gpu(), programs)


class Runtimes(Protocol):
    async def demand(self, spec: ArksApplicationSpec, model_path: str, slots: int) -> Demand: ...
    def command(self, spec: ArksApplicationSpec, engine: EngineParameters) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How engines run on this machine; config.py has the reasons."""

    engines_directory: Path
    pace: Pace
    slots: int
    """Of a llama.cpp replica whose arguments do not set --parallel."""
    grace_seconds: float
    """Of a replica whose spec has no terminationGracePeriodSeconds."""
    log_bytes: int
    owner_pid: int
    """Engines end with this process."""


@dataclass(slots=True)
class _Group:
    """What belongs to one application."""

    replicas: dict[str, LocalReplica] = field(default_factory=dict)
    workload: Workload | None = None
    revision: str | None = None
    refusal: Refusal | None = None
    held_back: bool = False


class LocalWorkloads:
    """`start` before use; `close` at the end, which leaves the engines running."""

    def __init__(
        self,
        options: LocalOptions,
        *,
        probe: Probe,
        clock: Clock,
        meters: EngineMeters,
        environment: Mapping[str, str],
        runtimes: Runtimes | None = None,
        look: Callable[[], Machine] = this_machine,
    ) -> None:
        self._options = options
        self._clock = clock
        self._meters = meters
        self._environment = {name: value for name, value in environment.items() if not name.startswith("ARKS_")}
        self._runtimes = runtimes or LocalRuntimes()
        self._look = look
        self._directories = EngineDirectories(options.engines_directory)
        self._groups: dict[Key, _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[Callable[[Change], None]] = []
        self._starting = asyncio.Lock()
        self._around = Surroundings(probe, options.pace, clock, self._own, self._changed, meters.started)

    # --- life

    async def start(self) -> None:
        """Take over the engines that an earlier app-deployer has left running."""
        for key, name, directory in list(self._directories.all()):
            replica = LocalReplica(key, name, directory, self._around)
            self._group(key).replicas[name] = replica
            await replica.adopt()
            log.info("engine found", application=str(key), replica=name, state=replica.state.value)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        self._listeners.append(listener)

    # --- the port

    def problem(self, application: ArksApplication) -> Refusal | None:
        return checks.runtime_problem(application.spec, self._look())

    def keys(self) -> set[Key]:
        return set(self._groups)

    def observe(self, key: Key) -> Observed:
        group = self._groups.get(key)
        if group is None:
            return Observed()
        there = [group.replicas[name] for name in sorted(group.replicas, key=_order)]
        replicas = tuple(replica.snapshot(group.revision) for replica in there if not replica.gone.is_set())
        return Observed(replicas, group.refusal, self._again_seconds(group))

    def observed(self) -> Iterator[tuple[Key, Observed]]:
        return iter([(key, self.observe(key)) for key in list(self._groups)])

    async def apply(self, workload: Workload) -> Observed:
        application = workload.application
        key = Key(application.namespace, application.name)
        group = self._group(key)
        group.workload = workload
        wanted, group.refusal = await self._demand(workload)
        if wanted is not None:
            group.revision = self._revision(workload, wanted)
        async with self._starting:  # memory is counted and taken by one at a time
            await self._move(key, group, wanted)
        return self.observe(key)

    async def remove(self, key: Key, grace_seconds: float) -> Observed:
        group = self._groups.get(key)
        if group is None:
            return Observed()
        for replica in list(group.replicas.values()):
            replica.leave(grace_seconds if replica.state is ReplicaState.READY else 0.0)
        self._forget_gone(group)
        if not group.replicas:
            del self._groups[key]
            self._directories.remove(key)
            self._meters.forget(key)
        return self.observe(key)

    # --- steps

    async def _demand(self, workload: Workload) -> tuple[Demand | None, Refusal | None]:
        """None, None: nothing is to be started now."""
        if workload.model is None:
            return None, None
        try:
            spec = workload.application.spec
            return await self._runtimes.demand(spec, workload.model.path, self._options.slots), None
        except Refused as refused:
            return None, refused.refusal

    async def _move(self, key: Key, group: _Group, wanted: Demand | None) -> None:
        self._forget_gone(group)
        available, claimed = self._look().available_memory_bytes, self._claimed_bytes()
        room = checks.replicas_that_fit(available, claimed, wanted.memory_bytes) if wanted else 0
        now = self._clock.monotonic()
        due = frozenset(name for name, replica in group.replicas.items() if replica.ended and replica.due_at <= now)
        revision = group.revision if wanted else None  # without leave to start, nothing counts as outdated
        snapshots = [replica.snapshot(revision) for replica in group.replicas.values()]
        spec = _spec(group)
        at_once = max(0, self._look().cpus - len(self._on_their_way()))
        decided = rollout.plan(key.name, spec.replicas, snapshots, room=room, due=due, at_once=at_once)
        group.held_back = decided.held_back
        if wanted and decided.short_of_memory and not claimed:
            group.refusal = checks.memory_refusal(available, claimed, wanted.memory_bytes, wanted.weights_bytes)
        for step in decided.steps:
            await self._do(step, key, group, wanted)
        self._forget_gone(group)

    async def _do(self, step: rollout.Step, key: Key, group: _Group, wanted: Demand | None) -> None:
        if step.verb is rollout.Verb.START:
            if wanted is not None:
                await self._launch(key, step.replica, group, wanted)
            return
        grace = grace_seconds(_spec(group), self._options.grace_seconds) if step.verb is rollout.Verb.DRAIN else 0.0
        group.replicas[step.replica].leave(grace)

    async def _launch(self, key: Key, name: str, group: _Group, wanted: Demand) -> None:
        known = group.replicas.get(name)
        replica = known or LocalReplica(key, name, self._directories.of(key, name), self._around)
        group.replicas[name] = replica
        spec = _spec(group)
        launch = self._describe(spec, group.revision or "", wanted, replica)
        try:
            await replica.start(launch, self._environment | _given_environment(spec))
        except Unavailable as error:
            group.replicas.pop(name)
            group.refusal = Refusal("EngineNotStarted", str(error))
            return
        if known is not None:
            self._meters.restarted(key)

    def _describe(self, spec: ArksApplicationSpec, revision: str, wanted: Demand, replica: LocalReplica) -> Launch:
        owner = self._options.owner_pid
        port = free_port()
        threads = machine.engine_threads(self._look().cpus, self._wanted_engines())
        engine = EngineParameters(wanted.model_path, port, threads, self._options.slots)
        return Launch(
            command=self._runtimes.command(spec, engine),
            owner_pid=owner,
            owner_start_ticks=start_ticks_of(owner),
            log_bytes=self._options.log_bytes,
            kill_seconds=self._options.pace.kill_seconds,
            port=port,
            revision=revision,
            served_model=spec.served_name,
            slots=wanted.slots,
            restarts=replica.restarts + (1 if replica.launch else 0),
            failures=replica.failures,
            memory_bytes=wanted.memory_bytes,
        )

    def _revision(self, workload: Workload, wanted: Demand) -> str:
        """Changes with everything that a running engine would have to be started anew for."""
        spec = workload.application.spec
        line = self._runtimes.command(spec, EngineParameters(wanted.model_path, port=0, threads=0, slots=wanted.slots))
        env = [variable.to_dict() for variable in spec.instance_spec.env]
        generation = workload.model.generation if workload.model else 0
        content = json.dumps([spec.effective_runtime, line, env, generation])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    # --- counting

    def _group(self, key: Key) -> _Group:
        return self._groups.setdefault(key, _Group())

    def _forget_gone(self, group: _Group) -> None:
        for name in [name for name, replica in group.replicas.items() if replica.gone.is_set()]:
            del group.replicas[name]

    def _on_their_way(self) -> list[LocalReplica]:
        """Replicas of all applications that are not ready yet."""
        loading = {ReplicaState.STARTING, ReplicaState.LOADING}
        everyone = [replica for group in self._groups.values() for replica in group.replicas.values()]
        return [replica for replica in everyone if replica.state in loading]

    def _claimed_bytes(self) -> int:
        """Memory that started replicas will take but may not have taken yet."""
        return sum(replica.launch.memory_bytes for replica in self._on_their_way() if replica.launch is not None)

    def _wanted_engines(self) -> int:
        """Engines on the CPU that share this machine when all is as wanted."""
        specs = [group.workload.application.spec for group in self._groups.values() if group.workload]
        return sum(spec.replicas for spec in specs if spec.effective_runtime is Runtime.LLAMACPP)

    def _again_seconds(self, group: _Group) -> float | None:
        now = self._clock.monotonic()
        waits = [max(0.0, replica.due_at - now) for replica in group.replicas.values() if replica.ended]
        return min([*waits, *([_AGAIN_SECONDS] if group.refusal or group.held_back else [])], default=None)

    # --- background

    def _changed(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("watching an engine failed", exc_info=error)


def grace_seconds(spec: ArksApplicationSpec, default: float) -> float:
    given = spec.instance_spec.termination_grace_period_seconds
    return default if given is None else float(given)


def _spec(group: _Group) -> ArksApplicationSpec:
    if group.workload is None:
        raise RuntimeError("steps are taken only towards what is wanted")
    return group.workload.application.spec


def _given_environment(spec: ArksApplicationSpec) -> dict[str, str]:
    """Values that only Kubernetes can look up (valueFrom) are left out."""
    return {variable.name: variable.value for variable in spec.instance_spec.env if variable.value is not None}


def _order(name: str) -> tuple[int, str]:
    return len(name), name
