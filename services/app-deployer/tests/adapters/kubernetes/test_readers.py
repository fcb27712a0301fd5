"""Pods and child objects may be made by anyone: no label or annotation of theirs stops app-deployer."""

from typing import Any

import pytest
from hypothesis import given, settings

from arks.app_deployer.adapters.kubernetes.child import Child, read_child
from arks.app_deployer.adapters.kubernetes.pods import read_pod
from arks.app_deployer.domain.launch.manifests import APPLIED, PART, REVISION, ROLE, SLOTS, WITHOUT_SURGE
from arks.app_deployer.domain.pods import Pod
from arks.contracts.names import APPLICATION_LABEL
from arks.kit.cache import Cache
from arks.kit.testing.informers import FakeObjects
from arks.kit.testing.values import kube_objects

LABELS, ANNOTATIONS = [APPLICATION_LABEL, ROLE, PART], [SLOTS, REVISION, APPLIED, WITHOUT_SURGE]


def pod(slots: str) -> dict[str, Any]:
    labels, annotations = {APPLICATION_LABEL: "app", ROLE: "leader"}, {SLOTS: slots}
    return {"metadata": {"name": "app-0", "namespace": "default", "labels": labels, "annotations": annotations}}


def started_by(slots: str, **container: list[str] | None) -> dict[str, Any]:
    sidecar = {"name": "mine", "args": ["--max-num-seqs", "7"]}
    return {**pod(slots), "spec": {"containers": [sidecar, {"name": "leader", **container}]}}


def child_of(obj: dict[str, Any]) -> Child:
    return read_child(obj, "arks-app-deployer")


@pytest.mark.parametrize(("slots", "expected"), [("4", 4), ("many", 0), ("²", 0), ("-1", 0), ("9" * 30, 0)])
def test_slots_that_are_no_number_are_unknown(slots: str, expected: int) -> None:
    found = read_pod(pod(slots))
    assert found is not None and expected == found.slots


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (started_by("", command=["vllm", "serve"], args=["--max-num-seqs", "64"]), 64),
        (started_by("", command=["/bin/bash", "-c", "vllm serve m --max-num-seqs 64"]), 64),
        (started_by("", command=None), 0),
        (started_by("16", command=["vllm", "serve", "--max-num-seqs", "64"]), 16),
    ],
)
def test_slots_are_those_of_the_annotation_or_of_the_engines_own_command(obj: dict[str, Any], expected: int) -> None:
    found = read_pod(obj)
    assert found is not None and expected == found.slots


@given(kube_objects(LABELS, ANNOTATIONS, typed=True))
@settings(max_examples=200)
def test_whatever_others_write_into_an_object_is_read(obj: dict[str, Any]) -> None:
    assert isinstance(read_pod(obj), Pod | None)
    assert isinstance(child_of(obj), Child)


@given(kube_objects(LABELS, ANNOTATIONS, typed=False))
async def test_an_informer_survives_any_object(obj: dict[str, Any]) -> None:
    for read in (read_pod, child_of):
        cache: Cache[Any] = Cache()
        await FakeObjects(obj, pod("4")).follow(read, cache)
        assert cache.synced.is_set()
        assert any(key.name == "app-0" for key, _ in cache.items())
