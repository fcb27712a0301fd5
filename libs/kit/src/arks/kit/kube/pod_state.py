"""Reads a pod's status: whether it runs, and if not, why. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from arks.kit.kube.lenient import time_in
from arks.kit.types import Json

_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})
_FAILED_PULLS = frozenset({"ErrImagePull", "ImagePullBackOff"})
IMAGE_PULL_BACK_OFF = "ImagePullBackOff"
CRASH_LOOP_BACK_OFF = "CrashLoopBackOff"
STUCK = frozenset(
    {
        IMAGE_PULL_BACK_OFF,
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Waiting reasons that do not end before the container's spec or an object that it needs is changed."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not run yet."""

    reason: str
    message: str

    @property
    def starting(self) -> bool:
        """Whether it is about to run, without a fault."""
        return self.reason in _STARTING

    @property
    def settled_reason(self) -> str:
        """The reason, with ErrImagePull as ImagePullBackOff, because these two alternate every few seconds."""
        return IMAGE_PULL_BACK_OFF if self.reason in _FAILED_PULLS else self.reason


@dataclass(frozen=True, slots=True)
class Terminated:
    """How a run of a container ended."""

    exit_code: int
    reason: str
    message: str
    """The container's termination message; the last lines of its log if it has written none."""
    finished_at: datetime | None

    @property
    def out_of_memory(self) -> bool:
        return self.reason == "OOMKilled"

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.message.splitlines() if line.strip()]


@dataclass(frozen=True, slots=True)
class ContainerState:
    name: str
    init: bool
    image: str
    """From the spec, because the status may have a resolved name."""
    running: bool
    restarts: int
    waiting: Waiting | None
    terminated: Terminated | None
    """How this run ended; None while it has not."""
    last_terminated: Terminated | None
    """How the previous run ended."""
    started_at: datetime | None = None
    """Of this run."""

    @property
    def ended(self) -> Terminated | None:
        """How the latest run that is over ended."""
        return self.terminated or self.last_terminated

    @property
    def ends(self) -> int:
        """The number of runs that ended; Kubernetes counts a restart only once the container runs again."""
        dead = self.terminated is not None or (self.waiting is not None and self.last_terminated is not None)
        return self.restarts + dead


@dataclass(frozen=True, slots=True)
class PodState:
    phase: str
    reason: str
    """Of the pod itself: Evicted, DeadlineExceeded, NodeLost ..."""
    message: str
    ready: bool
    deleting: bool
    unscheduled: Waiting | None
    """Why it has no node yet."""
    unscheduled_since: datetime | None
    containers: tuple[ContainerState, ...]
    """In the order of their start: init containers first."""
    true_since: Mapping[str, datetime] = field(default_factory=dict)
    """The conditions that hold."""

    @property
    def unschedulable(self) -> bool:
        """Whether the scheduler has found no node for it."""
        return self.unscheduled is not None and self.unscheduled.reason == "Unschedulable"

    @property
    def ended(self) -> bool:
        return self.phase in {"Succeeded", "Failed"}

    def container(self, *names: str) -> ContainerState | None:
        """The first container with one of the names; None if the status does not list it yet."""
        return next((state for state in self.containers if not state.init and state.name in names), None)

    def waiting(self) -> Iterator[tuple[ContainerState, Waiting]]:
        """Containers that wait."""
        return ((state, state.waiting) for state in self.containers if state.waiting is not None)


def pod_state(pod: Json) -> PodState:
    metadata, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", [])}
    scheduled = conditions.get("PodScheduled", {})
    unscheduled = scheduled if scheduled.get("status") == "False" else None
    return PodState(
        phase=status.get("phase", ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        ready=conditions.get("Ready", {}).get("status") == "True",
        deleting="deletionTimestamp" in metadata,
        unscheduled=_waiting(unscheduled),
        unscheduled_since=time_in(unscheduled.get("lastTransitionTime")) if unscheduled else None,
        containers=(
            *_containers(status.get("initContainerStatuses", []), spec.get("initContainers", []), init=True),
            *_containers(status.get("containerStatuses", []), spec.get("containers", []), init=False),
        ),
        true_since={
            name: since
            for name, condition in conditions.items()
            if condition.get("status") == "True" and (since := time_in(condition.get("lastTransitionTime"))) is not None
        },
    )


def _containers(statuses: Sequence[Json], specs: Sequence[Json], *, init: bool) -> Iterator[ContainerState]:
    images = {spec["name"]: spec.get("image", "") for spec in specs}
    for status in statuses:
        state: Mapping[str, Any] = status.get("state", {})
        yield ContainerState(
            name=status["name"],
            init=init,
            image=str(images.get(status["name"], status.get("image", ""))),
            running="running" in state,
            restarts=status.get("restartCount", 0),
            waiting=_waiting(state.get("waiting")),
            terminated=_terminated(state.get("terminated")),
            last_terminated=_terminated(status.get("lastState", {}).get("terminated")),
            started_at=time_in((state.get("running") or state.get("terminated") or {}).get("startedAt")),
        )


def _waiting(found: Mapping[str, Any] | None) -> Waiting | None:
    return None if found is None else Waiting(found.get("reason", ""), found.get("message", ""))


def _terminated(found: Mapping[str, Any] | None) -> Terminated | None:
    if found is None:
        return None
    return Terminated(
        exit_code=found.get("exitCode", 0),
        reason=found.get("reason", ""),
        message=found.get("message", ""),
        finished_at=time_in(found.get("finishedAt")),
    )
