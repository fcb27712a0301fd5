"""PVCs, Jobs and pods as the service reads them."""

import pytest

from arks.model_manager.adapters.kubernetes.states import parse_job, parse_pod
from arks.model_manager.domain.observation import Blocked
from arks.model_manager.testing.objects import TIME, observed_pod


@pytest.mark.parametrize(
    "reason", ["ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError"]
)
def test_a_container_that_cannot_be_created_is_blocked_lastingly(reason: str) -> None:
    waiting = {"waiting": {"reason": reason, "message": "why"}}
    assert Blocked(f"{reason}: why", lasting=True) == observed_pod(waiting).blocked
    init = observed_pod(initContainerStatuses=[{"name": "before", "state": waiting}])
    assert Blocked(f"{reason}: why", lasting=True) == init.blocked


def test_a_container_about_to_run_is_not_blocked() -> None:
    assert observed_pod({"waiting": {"reason": "ContainerCreating"}}).blocked is None
    assert observed_pod({"waiting": {}}).blocked is None


def test_an_unschedulable_pod_is_blocked_for_a_while() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    assert Blocked("Unschedulable: 0/3 nodes", lasting=False) == observed_pod(conditions=[condition]).blocked


def test_objects_of_others_are_ignored() -> None:
    metadata = {"name": "x", "namespace": "default", "uid": "u", "creationTimestamp": TIME}
    forged = {"arks.ai/place": "p", "arks.ai/order": "f", "arks.ai/template": "t"}
    labels = {"arks.ai/model": "tiny"}
    assert parse_job({"metadata": metadata | {"labels": labels, "annotations": forged}}) is None
    cron = {"kind": "CronJob", "name": "c", "uid": "c", "controller": True}
    owned = {"labels": labels, "annotations": forged, "ownerReferences": [cron]}
    assert parse_job({"metadata": metadata | owned}) is None
    model = {"kind": "ArksModel", "name": "tiny", "uid": "m", "controller": True}
    assert parse_job({"metadata": metadata | owned | {"ownerReferences": [model]}}) is not None
    assert parse_pod({"metadata": metadata | {"ownerReferences": [{"kind": "StatefulSet", "uid": "s"}]}}) is None


def test_a_job_that_is_being_deleted_is_ignored() -> None:
    metadata = {"name": "x", "namespace": "d", "uid": "u", "deletionTimestamp": TIME, "creationTimestamp": TIME}
    ours = {"arks.ai/place": "p", "arks.ai/order": "f", "arks.ai/template": "t"}
    owners = [{"kind": "ArksModel", "name": "tiny", "uid": "m", "controller": True}]
    assert parse_job({"metadata": metadata | {"annotations": ours, "ownerReferences": owners}}) is None
