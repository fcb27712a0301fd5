"""Workloads on one machine: each replica is an engine process; `apply` takes the next steps to the desired state."""

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog

from arks.app_deployer.adapters.local.environment import environment_of
from arks.app_deployer.adapters.local.files import EngineDirectories, Launch
from arks.app_deployer.adapters.local.process import start_ticks_of
from arks.app_deployer.adapters.local.replica import LocalReplica, Probe, ReplicaDeps, Timings
from arks.app_deployer.adapters.local.runtimes import ON_PROCESSORS, EngineRequirements, LocalRuntimes, Refused
from arks.app_deployer.adapters.metrics import EngineMetrics
from arks.app_deployer.domain import checks, rollout
from arks.app_deployer.domain.launch import loading, read_ahead
from arks.app_deployer.domain.launch.local_commands import EngineParameters
from arks.app_deployer.domain.launch.profile_set import NoLaunch, Profiles
from arks.app_deployer.domain.workload import Change, Machine, ObservedWorkload, Refusal, Workload
from arks.contracts.manifests import one_machine
from arks.contracts.resources import ArksApplication, ArksApplicationSpec, InstanceState
from arks.kit import machine
from arks.kit.clock import Clock
from arks.kit.errors import Unavailable
from arks.kit.home import Secrets
from arks.kit.key import Key
from arks.kit.ports import free_port

log = structlog.get_logger(__name__)

_RECHECK_SECONDS = 2.0
"""Poll: free memory and files have no change events."""


def this_machine(programs: Iterable[str]) -> Machine:
    """`programs`: of engines, looked for."""
    found = frozenset(name for name in programs if name and machine.has_program(name))
    return Machine(machine.usable_cpus(), machine.available_memory_bytes(), machine.has_gpu(), found)


class Runtimes(Protocol):
    async def requirements(self, spec: ArksApplicationSpec, model_path: str, slots: int) -> EngineRequirements: ...
    def command(self, spec: ArksApplicationSpec, engine: EngineParameters) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How engines run on this machine; config.py has the reasons."""

    engines_directory: Path
    timings: Timings
    slots: int
    """Of a llama.cpp replica whose arguments do not set --parallel."""
    grace_seconds: float
    """Of a replica whose spec has no terminationGracePeriodSeconds."""
    log_bytes: int
    owner_pid: int
    """Engines end with this process."""


@dataclass(slots=True)
class _Group:
    """Replicas and state of one application."""

    replicas: dict[str, LocalReplica] = field(default_factory=dict)
    workload: Workload | None = None
    revision: str | None = None
    refusal: Refusal | None = None
    held_back: bool = False
    note: str = ""


class LocalWorkloads:
    """`start` before use; `close` at the end, which leaves the engines running."""

    def __init__(
        self,
        options: LocalOptions,
        *,
        probe: Probe,
        clock: Clock,
        metrics: EngineMetrics,
        environment: Mapping[str, str],
        profiles: Profiles,
        secrets: Secrets,
        runtimes: Runtimes | None = None,
        inspect_machine: Callable[[], Machine] | None = None,
        work: Callable[[Key], Mapping[str, float]] = lambda _: {},
    ) -> None:
        """`work`: requests in flight by replica."""
        self._work = work
        self._options = options
        self._clock = clock
        self._metrics = metrics
        self._environment = {name: value for name, value in environment.items() if not name.startswith("ARKS_")}
        self._profiles = profiles
        self._secrets = secrets
        self._programs = profiles.programs()
        self._runtimes = runtimes or LocalRuntimes(profiles)
        self._inspect_machine = inspect_machine or partial(this_machine, self._programs.values())
        self._directories = EngineDirectories(options.engines_directory)
        self._groups: dict[Key, _Group] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners: list[Callable[[Change], None]] = []
        self._starting = asyncio.Lock()
        self._deps = ReplicaDeps(probe, options.timings, clock, self._start_task, self._changed, metrics.started)

    # --- life

    async def start(self) -> None:
        """Adopt the engines that run since before the start of app-deployer."""
        for key, name, directory in list(self._directories.all()):
            replica = LocalReplica(key, name, directory, self._deps)
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
        spec = application.spec
        problem = checks.runtime_problem(spec, self._inspect_machine(), self._programs)
        return problem or self._loading_problem(spec)

    def _loading_problem(self, spec: ArksApplicationSpec) -> Refusal | None:
        profile = self._profiles.machine(spec.effective_runtime)
        try:
            if profile is not None:
                loading.words(spec, profile, None, ())
        except NoLaunch as error:
            return Refusal(checks.RUNTIME_NOT_SUPPORTED, str(error))
        return None

    def dialect(self, application: ArksApplication) -> str:
        profile = self._profiles.machine(application.spec.effective_runtime)
        return profile.dialect if profile is not None else ""

    def unsupported(self, application: ArksApplication) -> tuple[str, ...]:
        profile = self._profiles.machine(application.spec.effective_runtime)
        return profile.unsupported if profile is not None else ()

    def end_stuck(self, key: Key, replica: str, port: int, why: str) -> bool:
        group = self._groups.get(key)
        known = group.replicas.get(replica) if group is not None else None
        if known is None or not known.end_stuck(port, why):
            return False
        self._metrics.stuck(key)
        return True

    def keys(self) -> set[Key]:
        return set(self._groups)

    def observe(self, key: Key) -> ObservedWorkload:
        group = self._groups.get(key)
        if group is None:
            return ObservedWorkload()
        existing = [group.replicas[name] for name in sorted(group.replicas, key=_order)]
        replicas = tuple(replica.snapshot(group.revision) for replica in existing if not replica.removed.is_set())
        return ObservedWorkload(replicas, group.refusal, self._requeue_seconds(group), note=group.note)

    def command(self, key: Key, replica: str) -> list[str]:
        """The command line of an engine that was started; empty if there is none."""
        group = self._groups.get(key)
        found = group.replicas.get(replica) if group is not None else None
        return list(found.launch.command) if found is not None and found.launch is not None else []

    def observed(self) -> Iterator[tuple[Key, ObservedWorkload]]:
        return iter([(key, self.observe(key)) for key in list(self._groups)])

    async def apply(self, workload: Workload) -> ObservedWorkload:
        application = workload.application
        key = Key(application.namespace, application.name)
        group = self._group(key)
        group.workload = workload
        group.note = one_machine.sentence_of(one_machine.without_effect(application))
        desired, group.refusal = await self._requirements(workload)
        if desired is not None:
            group.revision = self._revision(workload, desired)
        async with self._starting:  # one application at a time counts free memory and starts engines
            await self._advance(key, group, desired)
        return self.observe(key)

    async def remove(self, key: Key, grace_seconds: float) -> ObservedWorkload:
        group = self._groups.get(key)
        if group is None:
            return ObservedWorkload()
        for replica in list(group.replicas.values()):
            replica.drain(grace_seconds if replica.state is InstanceState.READY else 0.0)
        self._drop_removed(group)
        if not group.replicas:
            del self._groups[key]
            self._directories.remove(key)
            self._metrics.forget(key)
        return self.observe(key)

    # --- steps

    async def _requirements(self, workload: Workload) -> tuple[EngineRequirements | None, Refusal | None]:
        """Requirements of a replica, or why it cannot start; None, None if nothing may start now."""
        if workload.model is None:
            return None, None
        spec = workload.application.spec
        if problem := self._loading_problem(spec):
            return None, problem
        try:
            return await self._runtimes.requirements(spec, workload.model.path, self._options.slots), None
        except Refused as refused:
            return None, refused.refusal

    async def _advance(self, key: Key, group: _Group, desired: EngineRequirements | None) -> None:
        self._drop_removed(group)
        available, reserved_bytes = self._inspect_machine().available_memory_bytes, self._reserved_bytes()
        revision = group.revision if desired else None  # nothing may start now, so nothing counts as outdated
        room, room_without_outdated = 0, 0
        if desired:
            outdated_bytes = _outdated_bytes(group, revision)
            room = checks.replicas_that_fit(available, reserved_bytes, desired.memory_bytes)
            room_without_outdated = checks.replicas_that_fit(
                available + outdated_bytes, reserved_bytes, desired.memory_bytes
            )
        now = self._clock.monotonic()
        due = frozenset(name for name, replica in group.replicas.items() if replica.ended and replica.due_at <= now)
        snapshots = [replica.snapshot(revision) for replica in group.replicas.values()]
        spec = _spec(group)
        at_once = max(0, self._inspect_machine().cpus - len(self._starting_replicas()))
        without_surge = spec.rollout_strategy.without_surge
        decided = rollout.plan(
            key.name,
            spec.replicas,
            snapshots,
            room=room,
            room_without_outdated=room_without_outdated,
            due=due,
            at_once=at_once,
            without_surge=without_surge,
            work=self._work(key),
        )
        group.held_back = decided.held_back
        if desired and decided.short_of_memory and not reserved_bytes:
            group.refusal = checks.memory_refusal(
                available, reserved_bytes, desired.memory_bytes, desired.weights_bytes
            )
        elif desired:
            most = len(group.replicas) + checks.replicas_that_fit(available, 0, desired.memory_bytes)
            group.refusal = checks.number_refusal(spec.replicas, most, desired.memory_bytes)
        for step in decided.steps:
            await self._carry_out(step, key, group, desired)
        self._drop_removed(group)

    async def _carry_out(self, step: rollout.Step, key: Key, group: _Group, desired: EngineRequirements | None) -> None:
        if step.verb is rollout.Verb.START:
            if desired is not None:
                await self._launch(key, step.replica, group, desired)
            return
        grace = grace_seconds(_spec(group), self._options.grace_seconds) if step.verb is rollout.Verb.DRAIN else 0.0
        group.replicas[step.replica].drain(grace)

    async def _launch(self, key: Key, name: str, group: _Group, desired: EngineRequirements) -> None:
        known = group.replicas.get(name)
        replica = known or LocalReplica(key, name, self._directories.of(key, name), self._deps)
        group.replicas[name] = replica
        spec = _spec(group)
        launch = self._describe(spec, group.revision or "", desired, replica)
        try:
            environment = await environment_of(spec.instance_spec, key.namespace, self._secrets)
            await replica.start(launch, self._environment | environment)
        except (Refused, Unavailable) as error:
            group.replicas.pop(name)
            unavailable = Refusal("EngineNotStarted", str(error))
            group.refusal = error.refusal if isinstance(error, Refused) else unavailable
            return
        if known is not None:
            self._metrics.restarted(key)

    def _describe(
        self, spec: ArksApplicationSpec, revision: str, desired: EngineRequirements, replica: LocalReplica
    ) -> Launch:
        owner = self._options.owner_pid
        port = free_port()
        threads = machine.engine_threads(self._inspect_machine().cpus, self._desired_engines())
        engine = EngineParameters(desired.model_path, port, threads, self._options.slots)
        return Launch(
            command=_with_read_ahead(spec, self._runtimes.command(spec, engine), desired.model_path),
            owner_pid=owner,
            owner_start_ticks=start_ticks_of(owner),
            log_bytes=self._options.log_bytes,
            kill_seconds=self._options.timings.kill_seconds,
            port=port,
            revision=revision,
            served_model=spec.served_name,
            slots=desired.slots,
            restarts=replica.restarts + (1 if replica.launch else 0),
            failures=replica.failures,
            memory_bytes=desired.memory_bytes,
        )

    def _revision(self, workload: Workload, desired: EngineRequirements) -> str:
        """Digest of all that requires a restart of running engines."""
        spec = workload.application.spec
        line = self._runtimes.command(
            spec, EngineParameters(desired.model_path, port=0, threads=0, slots=desired.slots)
        )
        env = [variable.to_dict() for variable in spec.instance_spec.env]
        generation = workload.model.generation if workload.model else 0
        content = json.dumps([spec.effective_runtime, line, env, generation])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    # --- counting

    def _group(self, key: Key) -> _Group:
        return self._groups.setdefault(key, _Group())

    def _drop_removed(self, group: _Group) -> None:
        for name in [name for name, replica in group.replicas.items() if replica.removed.is_set()]:
            del group.replicas[name]

    def _starting_replicas(self) -> list[LocalReplica]:
        """Replicas of all applications that are not ready yet; their memory is not all in use."""
        loading = {InstanceState.STARTING, InstanceState.LOADING}
        all_replicas = [replica for group in self._groups.values() for replica in group.replicas.values()]
        return [replica for replica in all_replicas if replica.state in loading]

    def _reserved_bytes(self) -> int:
        """Memory that started replicas will use but may not use yet."""
        return sum(replica.launch.memory_bytes for replica in self._starting_replicas() if replica.launch is not None)

    def _desired_engines(self) -> int:
        """Number of CPU engines on this machine once all applications are as desired."""
        specs = [group.workload.application.spec for group in self._groups.values() if group.workload]
        return sum(spec.replicas for spec in specs if spec.effective_runtime in ON_PROCESSORS)

    def _requeue_seconds(self, group: _Group) -> float | None:
        now = self._clock.monotonic()
        waits = [max(0.0, replica.due_at - now) for replica in group.replicas.values() if replica.ended]
        return min([*waits, *([_RECHECK_SECONDS] if group.refusal or group.held_back else [])], default=None)

    # --- background

    def _changed(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
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
        raise RuntimeError("no workload has been applied")
    return group.workload.application.spec


def _outdated_bytes(group: _Group, revision: str | None) -> int:
    """Memory of the replicas that run an older spec."""
    launches = [replica.launch for replica in group.replicas.values() if replica.launch is not None]
    return sum(launch.memory_bytes for launch in launches if launch.revision != revision)


def _order(name: str) -> tuple[int, str]:
    return len(name), name


def _with_read_ahead(spec: ArksApplicationSpec, command: list[str], model_path: str) -> list[str]:
    """No part of the revision: it changes how an engine starts, not what it runs."""
    return read_ahead.command(sys.executable, model_path, command) if loading.reads_ahead(spec) else command
