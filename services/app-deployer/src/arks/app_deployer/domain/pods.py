"""Replicas from pods: the state of a pod, and notices of changes between two observations. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from arks.app_deployer.domain.start_phases import StartPhases
from arks.app_deployer.domain.workload import CRASH_LOOP_FAILURES, ENGINE_ENDED, ObservedReplica, ReplicaVerb
from arks.contracts.resources import InstanceState
from arks.kit.key import Key


@dataclass(frozen=True, slots=True)
class GroupRef:
    """Names the replicas of an application, or of one part of a disaggregated application."""

    application: Key
    part: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod cannot start its container."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Pod:
    """The fields of a pod that decisions need."""

    name: str
    uid: str
    application: str
    part: str = ""
    """Of a disaggregated application: router, prefill, decode."""
    leader: bool = True
    leader_name: str = ""
    """Of its group; its own name for a leader."""
    index: int = 0
    """Of its group."""
    ip: str = ""
    ready: bool = False
    running: bool = False
    """Its container runs."""
    terminating: bool = False
    port: int = 0
    revision: str = ""
    slots: int = 0
    restarts: int = 0
    """Of its container, within this pod."""
    ends: int = 0
    """How often its container has ended."""
    last_end: str = ""
    last_lines: tuple[str, ...] = ()
    pod_group: str = ""
    """Of Volcano; empty: it is in none."""
    trouble: Trouble | None = None
    unschedulable_since: datetime | None = None
    created_at: datetime | None = None
    phases: StartPhases | None = None
    """How long each phase of its start took, as of now; None until it is ready."""

    @property
    def waits(self) -> bool:
        """Its container has never run, and the pod itself has no reason."""
        return not (self.terminating or self.ready or self.running or self.ends or self.trouble)


@dataclass(frozen=True, slots=True)
class ReplicaNotice:
    verb: ReplicaVerb
    reason: str
    message: str
    last_lines: tuple[str, ...] = ()
    start: StartPhases | None = None
    """Of a replica that has just started."""


@dataclass(frozen=True, slots=True)
class History:
    """History of a replica's name, over all pods of that name."""

    uid: str
    """Of the newest pod; empty when it is gone."""
    pod_restarts: int
    pod_ends: int
    restarts_before: int = 0
    """Starts in pods before this one."""
    failures: int = 0
    message: str = ""
    ready_since: datetime | None = None
    start: StartPhases | None = None
    """Of the engine that runs; None if nothing has observed it."""
    start_over: bool = False
    """It has been ready; a pod that is ready again has not started again."""

    @property
    def restarts(self) -> int:
        return self.restarts_before + self.pod_restarts


def first_history(pod: Pod, now: datetime, restarts_known: int = 0) -> History:
    """History of a pod seen for the first time. `restarts_known`: counted before app-deployer started."""
    failures = 0 if pod.ready else pod.ends
    before = max(0, restarts_known - pod.restarts)
    message = "" if pod.ready else pod.last_end
    ready_since = now if pod.ready else None
    return History(pod.uid, pod.restarts, pod.ends, before, failures, message, ready_since, start_over=pod.ready)


def next_history(
    history: History | None, pod: Pod | None, now: datetime, stable_seconds: float
) -> tuple[History | None, list[ReplicaNotice]]:
    """The replica's next history, and notices of what changed. `pod` None: no pod has this name now."""
    notices: list[ReplicaNotice] = []
    if history is not None and history.uid and (pod is None or pod.uid != history.uid):
        notices.append(ReplicaNotice(ReplicaVerb.EXITED, "Stopped", "its pod is gone"))
        history = replace(history, uid="", ready_since=None)
    if pod is None:
        return history, notices
    if history is None or not history.uid:
        history = _in_new_pod(history, pod)
        notices.append(ReplicaNotice(ReplicaVerb.STARTED, "Started", f"{pod.name} has a new pod"))
    if pod.ends > history.pod_ends:
        history = _after_end(history, pod, now, stable_seconds)
        notices.append(ReplicaNotice(ReplicaVerb.EXITED, ENGINE_ENDED, f"{pod.name}: {pod.last_end}", pod.last_lines))
    history = replace(history, pod_restarts=max(pod.restarts, history.pod_restarts))
    serves = pod.ready and not pod.terminating
    if serves and history.ready_since is None:
        started = pod.phases if not history.start_over else None
        after = f" after {started}" if started is not None else ""
        notices.append(ReplicaNotice(ReplicaVerb.READY, "Ready", f"{pod.name} is ready{after}", start=started))
        history = replace(history, ready_since=now, message="", start=history.start or started, start_over=True)
    elif not serves and history.ready_since is not None:
        history = replace(history, ready_since=None)
    return history, notices


def _in_new_pod(history: History | None, pod: Pod) -> History:
    if history is None:
        return History(pod.uid, 0, 0)
    before = history.restarts + 1
    made = replace(history, uid=pod.uid, restarts_before=before, pod_restarts=0, pod_ends=0)
    return replace(made, start=None, start_over=False)


def _after_end(history: History, pod: Pod, now: datetime, stable_seconds: float) -> History:
    served_well = history.ready_since is not None and (now - history.ready_since).total_seconds() >= stable_seconds
    before = 0 if served_well else history.failures
    failures = before + pod.ends - history.pod_ends
    made = replace(history, pod_ends=pod.ends, failures=failures, message=pod.last_end, ready_since=None)
    return replace(made, start=None, start_over=False)


def replica_of(pod: Pod, workers: Sequence[Pod], history: History, revision: str) -> ObservedReplica:
    """`workers`: the other pods of its group. `revision`: of the newest spec; empty when there is none."""
    state = state_of(pod, history)
    made = ObservedReplica(
        name=pod.name,
        state=state,
        host=pod.ip,
        port=pod.port if pod.ip else 0,
        updated=not revision or pod.revision == revision,
        slots=pod.slots,
        restarts=history.restarts,
        failures=history.failures,
        message=history.message,
        start=history.start,
    )
    if state in {InstanceState.READY, InstanceState.DRAINING}:
        return made
    stuck = next(
        (candidate for candidate in (pod, *workers) if candidate.trouble is not None and not candidate.terminating),
        None,
    )
    if stuck is None or stuck.trouble is None:
        return made
    message = stuck.trouble.message if stuck is pod else f"{stuck.name}: {stuck.trouble.message}"
    return replace(made, state=InstanceState.FAILED, reason=stuck.trouble.reason, message=message)


def state_of(pod: Pod, history: History) -> InstanceState:
    if pod.terminating:
        return InstanceState.DRAINING
    if pod.ready:
        return InstanceState.READY
    if pod.running:
        return InstanceState.LOADING
    if pod.ends:
        return InstanceState.FAILED if history.failures >= CRASH_LOOP_FAILURES else InstanceState.BACK_OFF
    return InstanceState.STARTING
