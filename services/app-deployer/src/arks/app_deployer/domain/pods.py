"""From pods to replicas: what a pod's state means, and what has happened between two looks at it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from arks.app_deployer.domain.workload import CRASH_LOOP_FAILURES, ENGINE_ENDED, Replica, ReplicaState, ReplicaVerb


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod cannot start its container."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Pod:
    """What counts of a pod."""

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
    leaving: bool = False
    port: int = 0
    revision: str = ""
    slots: int = 0
    restarts: int = 0
    """Of its container, within this pod."""
    ends: int = 0
    """How often its container has ended."""
    last_end: str = ""
    last_lines: tuple[str, ...] = ()
    trouble: Trouble | None = None
    unschedulable_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Told:
    verb: ReplicaVerb
    reason: str
    message: str
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """Of one name of a replica, over all pods that bore it."""

    uid: str
    """Of the newest pod; empty when it is gone."""
    pod_restarts: int
    pod_ends: int
    restarts_before: int = 0
    """Starts in pods before this one."""
    failures: int = 0
    message: str = ""
    ready_since: datetime | None = None

    @property
    def restarts(self) -> int:
        return self.restarts_before + self.pod_restarts


def first_look(pod: Pod, now: datetime, restarts_known: int = 0) -> History:
    """`restarts_known`: of this name, from before we were started."""
    failures = 0 if pod.ready else pod.ends
    before = max(0, restarts_known - pod.restarts)
    message = "" if pod.ready else pod.last_end
    return History(pod.uid, pod.restarts, pod.ends, before, failures, message, now if pod.ready else None)


def next_look(
    history: History | None, pod: Pod | None, now: datetime, stable_seconds: float
) -> tuple[History | None, list[Told]]:
    """What has become of a replica, and what people are told of it. `pod` None: there is none of its name now."""
    told: list[Told] = []
    if history is not None and history.uid and (pod is None or pod.uid != history.uid):
        told.append(Told(ReplicaVerb.EXITED, "Stopped", "its pod is gone"))
        history = replace(history, uid="", ready_since=None)
    if pod is None:
        return history, told
    if history is None or not history.uid:
        history = _in_new_pod(history, pod)
        told.append(Told(ReplicaVerb.STARTED, "Started", f"{pod.name} has a new pod"))
    if pod.ends > history.pod_ends:
        history = _after_end(history, pod, now, stable_seconds)
        told.append(Told(ReplicaVerb.EXITED, ENGINE_ENDED, f"{pod.name}: {pod.last_end}", pod.last_lines))
    history = replace(history, pod_restarts=max(pod.restarts, history.pod_restarts))
    serves = pod.ready and not pod.leaving
    if serves and history.ready_since is None:
        told.append(Told(ReplicaVerb.READY, "Ready", f"{pod.name} serves"))
        history = replace(history, ready_since=now, message="")
    elif not serves and history.ready_since is not None:
        history = replace(history, ready_since=None)
    return history, told


def _in_new_pod(history: History | None, pod: Pod) -> History:
    if history is None:
        return History(pod.uid, 0, 0)
    return replace(history, uid=pod.uid, restarts_before=history.restarts + 1, pod_restarts=0, pod_ends=0)


def _after_end(history: History, pod: Pod, now: datetime, stable_seconds: float) -> History:
    served_well = history.ready_since is not None and (now - history.ready_since).total_seconds() >= stable_seconds
    before = 0 if served_well else history.failures
    failures = before + pod.ends - history.pod_ends
    return replace(history, pod_ends=pod.ends, failures=failures, message=pod.last_end, ready_since=None)


def replica_of(pod: Pod, workers: Sequence[Pod], history: History, revision: str) -> Replica:
    """`workers`: the other pods of its group. `revision`: of the newest spec; empty when there is none."""
    state = state_of(pod, history)
    made = Replica(
        name=pod.name,
        state=state,
        host=pod.ip,
        port=pod.port if pod.ip else 0,
        updated=not revision or pod.revision == revision,
        slots=pod.slots,
        restarts=history.restarts,
        failures=history.failures,
        message=history.message,
    )
    if state in {ReplicaState.READY, ReplicaState.DRAINING}:
        return made
    stuck = next((one for one in (pod, *workers) if one.trouble is not None and not one.leaving), None)
    if stuck is None or stuck.trouble is None:
        return made
    message = stuck.trouble.message if stuck is pod else f"{stuck.name}: {stuck.trouble.message}"
    return replace(made, state=ReplicaState.FAILED, reason=stuck.trouble.reason, message=message)


def state_of(pod: Pod, history: History) -> ReplicaState:
    if pod.leaving:
        return ReplicaState.DRAINING
    if pod.ready:
        return ReplicaState.READY
    if pod.running:
        return ReplicaState.LOADING
    if pod.ends:
        return ReplicaState.FAILED if history.failures >= CRASH_LOOP_FAILURES else ReplicaState.BACK_OFF
    return ReplicaState.STARTING
