"""The objects that the service reads, reduced to what concerns a model: PVCs, Jobs and pods. Pure."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from arks.contracts.resources import ArksModel
from arks.kit.key import Key
from arks.kit.kube.lenient import number_in, time_in
from arks.kit.kube.ownership import controller_of
from arks.kit.kube.pod_state import PodState, Terminated, pod_state
from arks.kit.telemetry import redact
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.manifests import (
    BEST_BYTES,
    CONTAINER,
    FAILURES,
    FINGERPRINT,
    LENT,
    MODEL_LABEL,
    OUTCOME,
    PLACEMENT,
    PVC_UID,
    SELECTED_NODE,
    STORAGE_PATH,
    TEMPLATE,
)
from arks.model_manager.domain.failures import FailureKind
from arks.model_manager.domain.observation import Blocked
from arks.model_manager.domain.protocol import Outcome, Report, outcome_from_json

MESSAGE_CHARACTERS = 1000
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ObservedPvc:
    uid: str
    phase: str
    deleting: bool
    owner_uids: tuple[str, ...]
    lent: bool = False
    """Its model is deleted, and the workloads that use it own it."""
    access_modes: tuple[str, ...] = ()
    storage_class: str = ""
    by_first_pod: bool = False
    """The node of its first pod decided where it is (WaitForFirstConsumer), or will."""
    version: int = field(default=0, compare=False)
    """Rises with each change."""


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A Job that downloads a model."""

    key: Key
    uid: str
    model: str
    storage_path: str
    fingerprint: str
    pvc_uid: str
    template: str
    created_at: datetime
    failures: int
    best_bytes: int
    outcome: Outcome | None
    """From its annotation."""
    complete: bool = False
    fault: str | None = None
    """Why the Job has failed, as Kubernetes reports it."""
    ended_at: datetime | None = None
    placement: str = ""
    """Digest of the constraints of nodes that it was created with."""
    version: int = field(default=0, compare=False)
    """Rises with each change."""

    @property
    def ended(self) -> bool:
        return self.complete or self.fault is not None


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """The pod of such a Job."""

    key: Key
    uid: str
    job_uid: str
    created_at: datetime
    running: bool
    blocked: Blocked | None
    outcome: Outcome | None
    """Of a worker that has ended."""
    ended_at: datetime | None


def parse_pvc(obj: Json) -> ObservedPvc:
    metadata, phase = obj["metadata"], obj.get("status", {}).get("phase", "Pending")
    return ObservedPvc(
        uid=metadata["uid"],
        phase=phase,
        deleting="deletionTimestamp" in metadata,
        owner_uids=tuple(owner["uid"] for owner in metadata.get("ownerReferences", [])),
        lent=LENT in metadata.get("annotations", {}),
        access_modes=tuple(obj.get("spec", {}).get("accessModes", [])),
        storage_class=obj.get("spec", {}).get("storageClassName") or "",
        by_first_pod=phase == "Pending" or SELECTED_NODE in metadata.get("annotations", {}),
        version=number_in(metadata.get("resourceVersion", "")),
    )


def parse_job(obj: Json) -> ObservedJob | None:
    """None for a Job that is being deleted or does not belong to an ArksModel, also with the annotations of ours."""
    metadata = obj["metadata"]
    if (controller_of(obj) or {}).get("kind") != ArksModel.__name__:
        return None
    annotations = metadata.get("annotations", {})
    if "deletionTimestamp" in metadata or not {STORAGE_PATH, FINGERPRINT, TEMPLATE} <= annotations.keys():
        return None
    conditions = obj.get("status", {}).get("conditions", [])
    true = {condition.get("type"): condition for condition in conditions if condition.get("status") == "True"}
    end = true.get("Failed") or true.get("Complete") or {}
    return ObservedJob(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        model=metadata.get("labels", {}).get(MODEL_LABEL, ""),
        storage_path=annotations[STORAGE_PATH],
        fingerprint=annotations[FINGERPRINT],
        pvc_uid=annotations.get(PVC_UID, ""),
        template=annotations[TEMPLATE],
        placement=annotations.get(PLACEMENT, ""),
        created_at=time_in(metadata.get("creationTimestamp")) or _LONG_AGO,
        failures=number_in(annotations.get(FAILURES, "")),
        best_bytes=number_in(annotations.get(BEST_BYTES, "")),
        outcome=_parse_outcome(annotations.get(OUTCOME, "")),
        complete="Complete" in true,
        fault=_joined(end.get("reason"), end.get("message"), "the Job failed") if "Failed" in true else None,
        ended_at=time_in(end.get("lastTransitionTime")),
        version=number_in(metadata.get("resourceVersion", "")),
    )


def parse_pod(obj: Json) -> ObservedPod | None:
    """None for a pod without a Job."""
    metadata, state = obj["metadata"], pod_state(obj)
    owners = [owner["uid"] for owner in metadata.get("ownerReferences", []) if owner.get("kind") == "Job"]
    if not owners:
        return None
    worker = state.container(CONTAINER)
    terminated = worker.terminated if worker is not None else None
    ended = terminated is not None or state.ended
    return ObservedPod(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        job_uid=owners[0],
        created_at=time_in(metadata.get("creationTimestamp")) or _LONG_AGO,
        running=worker is not None and worker.running and not ended,
        blocked=None if ended else _blocked(state),
        outcome=_worker_outcome(state, terminated) if ended else None,
        ended_at=terminated.finished_at if terminated is not None else None,
    )


def failed_outcome(kind: FailureKind, message: str) -> Outcome:
    return Outcome(Report(failure=kind, message=redact(message)[:MESSAGE_CHARACTERS]))


def _blocked(state: PodState) -> Blocked | None:
    """Why the pod does not run, if its status has a reason."""
    for _, waiting in state.waiting():
        if not waiting.starting:
            return Blocked(_joined(waiting.reason, waiting.message, ""), lasting=True)
    if state.unscheduled is None:
        return None
    reason, message = state.unscheduled.reason, state.unscheduled.message
    return Blocked(_joined(reason, message, "the pod cannot be scheduled"), lasting=False)


def _worker_outcome(state: PodState, terminated: Terminated | None) -> Outcome:
    """The outcome of a pod that has ended: the worker's own, or a failure from the pod's status."""
    if state.reason:  # Evicted, DeadlineExceeded, NodeLost ...
        return failed_outcome(FailureKind.CRASHED, _joined(state.reason, state.message, ""))
    if terminated is None:
        return failed_outcome(FailureKind.CRASHED, _fault_before_worker(state))
    outcome = _parse_outcome(terminated.message)
    if outcome is not None and outcome.report.done == (terminated.exit_code == 0):
        return outcome
    if terminated.out_of_memory:
        message = "the worker ran out of memory: give it more in instanceSpec.resources"
        return failed_outcome(FailureKind.CRASHED, message)
    return failed_outcome(FailureKind.CRASHED, _ended("the worker", terminated))


def _fault_before_worker(state: PodState) -> str:
    for container in state.containers:
        if container.init and container.terminated is not None and container.terminated.exit_code:
            return _ended(f"the init container {container.name}", container.terminated)
    return "the pod ended before its worker began"


def _ended(subject: str, terminated: Terminated) -> str:
    message = f"{subject} ended with status {terminated.exit_code}"
    return f"{message}: {terminated.lines[-1]}" if terminated.lines else message


def _parse_outcome(text: str) -> Outcome | None:
    try:
        outcome = outcome_from_json(text)
    except ValueError:
        return None
    message = redact(outcome.report.message)[:MESSAGE_CHARACTERS]
    return replace(outcome, report=replace(outcome.report, message=message))


def _joined(reason: str | None, message: str | None, otherwise: str) -> str:
    """`Reason: message`, or the one that is not empty."""
    joined = ": ".join(part for part in (reason, message) if part)
    return redact(joined or otherwise)[:MESSAGE_CHARACTERS]
