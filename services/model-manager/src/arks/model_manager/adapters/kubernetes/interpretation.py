"""What observed objects mean for a model: its weights, its download, and why either is stuck. Pure."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from arks.contracts.resources import SUB_PATH_PATTERN, DownloadProgress, ModelMemory
from arks.kit.kube.lenient import time_in
from arks.kit.kube.ownership import controller_of
from arks.kit.types import Json
from arks.model_manager.adapters.kubernetes.manifests import StoragePath
from arks.model_manager.adapters.kubernetes.states import (
    ObservedJob,
    ObservedPod,
    ObservedPvc,
    failed_outcome,
)
from arks.model_manager.domain.failures import Failure, FailureKind
from arks.model_manager.domain.observation import Blocked, Content, Download, DownloadState, StoredWeights
from arks.model_manager.domain.progress import Sample, progress_of
from arks.model_manager.domain.protocol import Found, Outcome, Report, report_from_json

_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_TOO_MANY_BYTES = 2**63
"""Pods are not trusted, and a status holds 64 bits."""
WAITS = frozenset(
    {"WaitForFirstConsumer", "WaitForPodScheduled", "ExternalProvisioning", "Provisioning", "ProvisioningSucceeded"}
)
"""Reasons of a PVC's Kubernetes Events that are not faults."""


def stored_of(
    pvc: ObservedPvc, storage_path: StoragePath, found: Found | None, pending_reason: tuple[str, str]
) -> StoredWeights:
    """`found`: by the source's worker. `pending_reason`: reason and message of the PVC's last Kubernetes Event."""
    name = f"PVC {storage_path.pvc}"
    if pvc.deleting:
        return StoredWeights(Content.LOST, message=f"{name} is being deleted, which ends when no pod uses it any more")
    if pvc.phase == "Lost":
        return StoredWeights(Content.LOST, message=f"{name} has lost its volume")
    if pvc.phase != "Bound":
        reason, message = pending_reason
        cause = f"{reason}: {message}" if reason else "no reason is known yet"
        failing = bool(reason) and reason not in WAITS
        return StoredWeights(Content.PENDING, message=f"{name} is not bound to a volume: {cause}", failing=failing)
    if found is None:
        return StoredWeights(Content.INCOMPLETE)
    return StoredWeights(
        Content.COMPLETE,
        path=f"{storage_path.mounted}/{found.file}" if _is_safe(found.file) else storage_path.mounted,
        size_bytes=found.size_bytes,
        file_count=found.file_count,
        sha256=found.sha256,
        revision=found.revision,
        memory=_memory(found),
    )


def _memory(found: Found) -> ModelMemory | None:
    if not found.weights_bytes:
        return None
    return ModelMemory(
        weights_bytes=found.weights_bytes,
        kv_cache_bytes_per_token=found.kv_bytes_per_token or None,
        context_tokens=found.context_tokens or None,
    )


def outcome_of(job: ObservedJob, pod: ObservedPod | None) -> Outcome | None:
    """How the Job ended; None while it runs, or if it succeeded and its pod was deleted before the outcome was read."""
    if job.outcome is not None:
        return job.outcome
    if pod is not None and pod.outcome is not None:
        return pod.outcome
    return failed_outcome(FailureKind.CRASHED, job.fault) if job.fault is not None else None


def download_of(
    job: ObservedJob, pod: ObservedPod | None, progress: DownloadProgress, *, start_fault: str, now: datetime
) -> Download | None:
    """The download of a Job; None if it is done. `start_fault`: of a Kubernetes Event, why the worker does not run."""
    outcome = outcome_of(job, pod)
    if outcome is None and job.complete:
        return None
    if outcome is not None:
        return _failed_download(job, pod, outcome.report, now)
    if pod is not None and pod.running:
        return Download(job.fingerprint, DownloadState.RUNNING, progress)
    blocked = pod.blocked if pod is not None else None
    if blocked is None and start_fault:
        blocked = Blocked(start_fault, lasting=False)
    return Download(job.fingerprint, DownloadState.STARTING, progress, blocked=blocked)


def _failed_download(job: ObservedJob, pod: ObservedPod | None, last: Report, now: datetime) -> Download | None:
    """None if the last report is not a failure."""
    if last.failure is None:
        return None
    return Download(
        job.fingerprint,
        DownloadState.FAILED,
        progress_of((Sample(0.0, last.done_bytes),), last.total_bytes),
        Failure(last.failure, last.message),
        failures=1 if last.done_bytes > job.best_bytes else job.failures + 1,
        ended_at=(pod and pod.ended_at) or job.ended_at or now,
    )


def workloads_on(pods: Sequence[Json], pvc: str) -> list[Json]:
    """References to the owners of running pods that use a PVC, or to pods without an owner; without Jobs."""
    found: dict[str, Json] = {}
    for pod in pods:
        metadata = pod["metadata"]
        pvcs = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["spec"].get("volumes", [])]
        ended = "deletionTimestamp" in metadata or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
        if ended or pvc not in pvcs:
            continue
        itself = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        owner = controller_of(pod) or itself
        if owner["kind"] != "Job":
            found[owner["uid"]] = owner
    return list(found.values())


def report_in(log: str) -> tuple[Sample, int] | None:
    """Sample and total bytes of the last report in a worker's log, whose lines begin with their time.

    None before a report has a total.
    """
    for line in reversed(log.splitlines()):
        at, _, text = line.partition(" ")
        try:
            report, time = report_from_json(text.encode()), time_in(at)
        except ValueError:
            continue
        done, total = report.done_bytes, report.total_bytes
        valid = time is not None and type(done) is int and type(total) is int
        if time and valid and total is not None and 0 <= done < _TOO_MANY_BYTES and 0 <= total < _TOO_MANY_BYTES:
            return Sample(time.timestamp(), done), total
    return None


def _is_safe(file: str) -> bool:
    """Whether the file name is safe in a command line. Engines get the directory otherwise."""
    return re.fullmatch(SUB_PATH_PATTERN, file) is not None and ".." not in file.split("/")
