"""What we read: claims, Jobs and pods as far as they concern a model, and what they mean for it. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from arks.contracts.resources import DownloadProgress
from arks.contracts.resources.model import SUB_PATH_PATTERN
from arks.kit.key import Key
from arks.kit.telemetry import redact
from arks.model_manager.adapters.kubernetes.manifests import (
    BEST_BYTES,
    CLAIM_UID,
    CONTAINER,
    FAILURES,
    FINGERPRINT,
    LENT,
    MODEL_LABEL,
    OUTCOME,
    PLACE,
    TEMPLATE,
    Place,
)
from arks.model_manager.domain.observation import Blocked, Content, Failure, Loading, LoadState, Stored
from arks.model_manager.domain.progress import Sample, progress_of
from arks.model_manager.domain.protocol import FailureKind, Found, Outcome, Report, outcome_from_json, report_from_json

Json = dict[str, Any]

_MESSAGE_CHARACTERS = 1000
_TOO_MANY = 2**63
"""Bytes: a pod's words are not trusted, and a status holds 64 bits."""
_FINE = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons of a container that waits and is about to run."""
WAITS = frozenset(
    {"WaitForFirstConsumer", "WaitForPodScheduled", "ExternalProvisioning", "Provisioning", "ProvisioningSucceeded"}
)
"""Reasons of a claim's Events that are no faults."""


# --- objects, as far as they concern us


@dataclass(frozen=True, slots=True)
class ClaimSeen:
    uid: str
    phase: str
    deleting: bool
    owner_uids: tuple[str, ...]
    lent: bool = False
    """Its model has gone and left it to the workloads that use it."""
    version: int = field(default=0, compare=False)
    """Newer ones are larger."""


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A Job that loads a model."""

    key: Key
    uid: str
    model: str
    place: str
    fingerprint: str
    claim_uid: str
    template: str
    created_at: datetime
    failures: int
    best_bytes: int
    outcome: Outcome | None
    """As we wrote it down."""
    complete: bool = False
    fault: str | None = None
    """Why the Job has failed, in Kubernetes' words."""
    ended_at: datetime | None = None
    version: int = field(default=0, compare=False)

    @property
    def ended(self) -> bool:
        return self.complete or self.fault is not None


@dataclass(frozen=True, slots=True)
class PodSeen:
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


def claim_seen(obj: Json) -> ClaimSeen:
    metadata = obj["metadata"]
    return ClaimSeen(
        uid=metadata["uid"],
        phase=obj.get("status", {}).get("phase", "Pending"),
        deleting="deletionTimestamp" in metadata,
        owner_uids=tuple(owner["uid"] for owner in metadata.get("ownerReferences", [])),
        lent=LENT in metadata.get("annotations", {}),
        version=_number(metadata.get("resourceVersion", "")),
    )


def job_seen(obj: Json) -> JobSeen | None:
    """None when it is on its way out, or not one of ours."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations", {})
    if "deletionTimestamp" in metadata or not {PLACE, FINGERPRINT, TEMPLATE} <= annotations.keys():
        return None
    ends = {
        condition["type"]: condition
        for condition in obj.get("status", {}).get("conditions", [])
        if condition["status"] == "True"
    }
    end = ends.get("Failed") or ends.get("Complete") or {}
    return JobSeen(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        model=metadata["labels"].get(MODEL_LABEL, ""),
        place=annotations[PLACE],
        fingerprint=annotations[FINGERPRINT],
        claim_uid=annotations.get(CLAIM_UID, ""),
        template=annotations[TEMPLATE],
        created_at=_time(metadata["creationTimestamp"]),
        failures=_number(annotations.get(FAILURES, "")),
        best_bytes=_number(annotations.get(BEST_BYTES, "")),
        outcome=_outcome(annotations.get(OUTCOME, "")),
        complete="Complete" in ends,
        fault=_words(end, "the Job failed") if "Failed" in ends else None,
        ended_at=_time(end["lastTransitionTime"]) if end else None,
        version=_number(metadata.get("resourceVersion", "")),
    )


def pod_seen(obj: Json) -> PodSeen | None:
    """None when it is not the pod of a Job."""
    metadata, status = obj["metadata"], obj.get("status", {})
    owners = [owner["uid"] for owner in metadata.get("ownerReferences", []) if owner["kind"] == "Job"]
    if not owners:
        return None
    worker = _container(status.get("containerStatuses", []), CONTAINER).get("state", {})
    ended = "terminated" in worker or status.get("phase") in {"Succeeded", "Failed"}
    finished = worker.get("terminated", {}).get("finishedAt")
    return PodSeen(
        key=Key(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        job_uid=owners[0],
        created_at=_time(metadata["creationTimestamp"]),
        running="running" in worker and not ended,
        blocked=None if ended else _blocked(status),
        outcome=_last_word(status, worker.get("terminated")) if ended else None,
        ended_at=_time(finished) if finished else None,
    )


def workloads_on(pods: Sequence[Json], claim: str) -> list[Json]:
    """References to what runs the pods that use a claim, or to pods that nothing runs; without Jobs, which end."""
    found: dict[str, Json] = {}
    for pod in pods:
        metadata = pod["metadata"]
        claims = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["spec"].get("volumes", [])]
        ended = "deletionTimestamp" in metadata or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        if ended or claim not in claims:
            continue
        itself = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        owner = next((one for one in metadata.get("ownerReferences", []) if one.get("controller")), itself)
        if owner["kind"] != "Job":
            found[owner["uid"]] = owner
    return list(found.values())


# --- what they mean


def stored_of(claim: ClaimSeen, place: Place, found: Found | None, why_pending: tuple[str, str]) -> Stored:
    """`found`: by the worker of the wanted order. `why_pending`: reason and message of the claim's last Event."""
    name = f"the claim {place.claim}"
    if claim.deleting:
        return Stored(Content.LOST, message=f"{name} is being deleted, which ends when no pod uses it any more")
    if claim.phase == "Lost":
        return Stored(Content.LOST, message=f"{name} has lost its volume")
    if claim.phase != "Bound":
        reason, message = why_pending
        said = f"{reason}: {message}" if reason else "nothing is known yet"
        failing = bool(reason) and reason not in WAITS
        return Stored(Content.PENDING, message=f"{name} is not bound to a volume: {said}", failing=failing)
    if found is None:
        return Stored(Content.INCOMPLETE)
    return Stored(
        Content.COMPLETE,
        path=f"{place.mounted}/{found.file}" if _usable(found.file) else place.mounted,
        size_bytes=found.size_bytes,
        file_count=found.file_count,
        sha256=found.sha256,
        revision=found.revision,
    )


def outcome_of(job: JobSeen, pod: PodSeen | None) -> Outcome | None:
    """How it ended; None while it goes on, or when it ended well and nobody can say any more with what."""
    if job.outcome is not None:
        return job.outcome
    if pod is not None and pod.outcome is not None:
        return pod.outcome
    return _failed(FailureKind.CRASHED, job.fault) if job.fault is not None else None


def loading_of(
    job: JobSeen, pod: PodSeen | None, progress: DownloadProgress, *, why_not: str, now: datetime
) -> Loading | None:
    """What a Job is doing. None when it has done everything. `why_not`: an Event that says why nothing runs yet."""
    outcome = outcome_of(job, pod)
    if outcome is None and job.complete:
        return None
    if outcome is not None and outcome.report.failure is None:
        return None
    if outcome is not None and outcome.report.failure is not None:
        last = outcome.report
        return Loading(
            job.fingerprint,
            LoadState.FAILED,
            progress_of((Sample(0.0, last.done_bytes),), last.total_bytes),
            Failure(outcome.report.failure, last.message),
            failures=1 if last.done_bytes > job.best_bytes else job.failures + 1,
            ended_at=(pod and pod.ended_at) or job.ended_at or now,
        )
    if pod is not None and pod.running:
        return Loading(job.fingerprint, LoadState.RUNNING, progress)
    blocked = pod.blocked if pod is not None else None
    if blocked is None and why_not:
        blocked = Blocked(why_not, lasting=False)
    return Loading(job.fingerprint, LoadState.STARTING, progress, blocked=blocked)


def newest_event(events: Sequence[Json], *, faults_only: bool = False) -> tuple[str, str]:
    """Reason and message of the last one, empty when there is none."""
    wanted = [event for event in events if not faults_only or event.get("type") == "Warning"]
    if not wanted:
        return "", ""
    last = max(wanted, key=_event_time)
    return str(last.get("reason", "")), str(last.get("message", ""))[:_MESSAGE_CHARACTERS]


def report_in(log: str) -> tuple[Sample, int] | None:
    """The last report in the end of a worker's log, whose lines begin with their time. None before it has a total."""
    for line in reversed(log.splitlines()):
        at, _, text = line.partition(" ")
        try:
            report, seconds = report_from_json(text.encode()), _time(at).timestamp()
        except ValueError:
            continue
        done, total = report.done_bytes, report.total_bytes
        if type(done) is int and type(total) is int and 0 <= done < _TOO_MANY and 0 <= total < _TOO_MANY:
            return Sample(seconds, done), total
    return None


# --- parts


def _container(statuses: Sequence[Json], name: str) -> Json:
    return next((status for status in statuses if status["name"] == name), {})


def _blocked(status: Mapping[str, Any]) -> Blocked | None:
    """Why the pod does not run, as far as it says so itself."""
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason", "") not in _FINE:
            return Blocked(_words(waiting, ""), lasting=True)
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Blocked(_words(condition, "the pod cannot be scheduled"), lasting=False)
    return None


def _last_word(status: Mapping[str, Any], terminated: Json | None) -> Outcome:
    """Of a pod that has ended: the worker's own words, or Kubernetes' about it."""
    if status.get("reason"):  # Evicted, DeadlineExceeded, NodeLost ...
        return _failed(FailureKind.CRASHED, _words(dict(status), ""))
    if terminated is None:
        return _failed(FailureKind.CRASHED, _before_worker(status))
    said = _outcome(terminated.get("message", ""))
    if said is not None and said.report.done == (terminated["exitCode"] == 0):
        return said
    if terminated.get("reason") == "OOMKilled":
        return _failed(FailureKind.CRASHED, "the worker ran out of memory: give it more in instanceSpec.resources")
    lines = str(terminated.get("message", "")).strip().splitlines()
    message = f"the worker ended with status {terminated['exitCode']}"
    return _failed(FailureKind.CRASHED, f"{message}: {lines[-1]}" if lines else message)


def _before_worker(status: Mapping[str, Any]) -> str:
    for container in status.get("initContainerStatuses", []):
        ended = container.get("state", {}).get("terminated", {})
        if ended.get("exitCode"):
            lines = str(ended.get("message", "")).strip().splitlines()
            said = f": {lines[-1]}" if lines else ""
            return f"the init container {container['name']} ended with status {ended['exitCode']}{said}"
    return "the pod ended before its worker began"


def _failed(kind: FailureKind, message: str) -> Outcome:
    return Outcome(Report(failure=kind, message=redact(message)[:_MESSAGE_CHARACTERS]))


def _outcome(text: str) -> Outcome | None:
    try:
        said = outcome_from_json(text)
    except ValueError:
        return None
    return replace(said, report=replace(said.report, message=redact(said.report.message)[:_MESSAGE_CHARACTERS]))


def _words(said: Json, otherwise: str) -> str:
    """`Reason: message`, as much as there is of it."""
    words = ": ".join(part for part in (said.get("reason"), said.get("message")) if part)
    return redact(words or otherwise)[:_MESSAGE_CHARACTERS]


def _event_time(event: Json) -> datetime:
    series = event.get("series") or {}
    given = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return _time(given or event["metadata"]["creationTimestamp"])


def _time(text: str) -> datetime:
    """Kubernetes writes up to nine decimals. Raises ValueError."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _usable(file: str) -> bool:
    """Whether a file's name may stand in a command line; elsewhere engines get the directory."""
    return re.fullmatch(SUB_PATH_PATTERN, file) is not None and ".." not in file.split("/")
