"""PVCs, Jobs and pods of a model as the Kubernetes adapter observes them, for tests."""

from datetime import UTC, datetime
from typing import Any

from arks.kit.key import Key
from arks.model_manager.adapters.kubernetes.manifests import StoragePath
from arks.model_manager.adapters.kubernetes.states import ObservedJob, ObservedPod, ObservedPvc, parse_job, parse_pod

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIME = "2026-01-01T12:00:00Z"
STORAGE_PATH = StoragePath(Key("default", "weights"), "models/default/tiny")


def observed_pvc(phase: str = "Bound", *, deleting: bool = False) -> ObservedPvc:
    return ObservedPvc("uid", phase, deleting, ())


def observed_job(annotations: dict[str, str] | None = None, *conditions: dict[str, str]) -> ObservedJob:
    ours = {"arks.ai/place": str(STORAGE_PATH), "arks.ai/order": "f", "arks.ai/template": "t"}
    metadata = {
        "name": "arks-worker-tiny",
        "namespace": "default",
        "uid": "job",
        "creationTimestamp": TIME,
        "labels": {"arks.ai/model": "tiny"},
        "annotations": ours | (annotations or {}),
        "ownerReferences": [{"kind": "ArksModel", "name": "tiny", "uid": "model", "controller": True}],
    }
    observed = parse_job({"metadata": metadata, "status": {"conditions": list(conditions)}})
    assert observed is not None
    return observed


def failed_condition(reason: str, message: str) -> dict[str, str]:
    return {"type": "Failed", "status": "True", "reason": reason, "message": message, "lastTransitionTime": TIME}


def observed_pod(state: dict[str, Any] | None = None, **status: Any) -> ObservedPod:
    metadata = {
        "name": "arks-worker-tiny-x",
        "namespace": "default",
        "uid": "pod",
        "creationTimestamp": TIME,
        "ownerReferences": [{"kind": "Job", "uid": "job"}],
    }
    statuses = {"containerStatuses": [{"name": "worker", "state": state}]} if state is not None else {}
    observed = parse_pod({"metadata": metadata, "status": {"phase": "Pending", **statuses, **status}})
    assert observed is not None
    return observed


def ended_pod(code: int, message: str = "", **more: str) -> ObservedPod:
    return observed_pod({"terminated": {"exitCode": code, "message": message, "finishedAt": TIME, **more}})
