"""What this version cannot read keeps its last good spec."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arks.contracts.resources import (
    CUSTOM_KINDS,
    ApplicationPhase,
    ArksApplication,
    ArksApplicationStatus,
    ArksQuota,
    Resource,
)
from arks.kit.cache import Unreadable
from arks.kit.reading import read_record, read_resource, with_fault
from arks.kit.testing.clock import FakeClock
from arks.kit.testing.values import json_values


def application(**changes: Any) -> dict[str, Any]:
    spec = {"runtime": "vllm", "model": {"name": "m"}, "instanceSpec": {}} | changes.pop("spec", {})
    metadata = {"name": "app", "namespace": "default", "uid": "1", "generation": 1} | changes.pop("metadata", {})
    return {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "metadata": metadata, "spec": spec, **changes}


GOOD = ArksApplication.from_stored(application(metadata={"finalizers": ["a.arks.ai/x"]}))
NEWER = {"spec": {"runtime": "trtllm"}}


def test_a_spec_of_a_newer_version_keeps_the_last_one_with_the_metadata_of_now() -> None:
    status = {"phase": "Running", "readyReplicas": 2}
    stored = application(metadata={"generation": 2, "resourceVersion": "9"}, status=status, **NEWER)
    found = read_resource(ArksApplication, stored, GOOD)
    assert isinstance(found, Unreadable) and found.last is not None
    assert (
        "spec.runtime: must be one of vllm, sglang, dynamo, llamacpp, ark, not 'trtllm'; did you mean vllm?"
        == found.fault
    )
    assert GOOD.spec == found.last.spec
    assert (1, "9", []) == (
        found.last.metadata.generation,
        found.last.metadata.resource_version,
        found.last.metadata.finalizers,
    )
    assert found.last.status is not None and 2 == found.last.status.ready_replicas


def test_a_deletion_is_seen_although_the_spec_cannot_be_read() -> None:
    stored = application(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}, **NEWER)
    found = read_resource(ArksApplication, stored, GOOD)
    assert isinstance(found, Unreadable) and found.deleting
    assert found.last is not None and found.last.metadata.deletion_timestamp is not None
    first = read_resource(ArksApplication, stored, None)
    assert isinstance(first, Unreadable) and first.deleting and first.last is None


def test_another_resource_of_the_same_name_does_not_get_the_last_spec() -> None:
    found = read_resource(ArksApplication, application(metadata={"uid": "2"}, **NEWER), GOOD)
    assert isinstance(found, Unreadable) and found.last is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"phase": "Degraded", "readyReplicas": 2, "observedGeneration": 4}, ArksApplicationStatus(ready_replicas=2)),
        ({"phase": "Running", "instances": [{"name": "a"}, {"name": "b", "state": "Ready"}]}, None),
        ({"conditions": [{"type": "Ready", "status": "Perhaps", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}, None),
        ({"phase": {"name": "Running"}, "conditions": "none"}, None),
        ("Running", ArksApplicationStatus()),
    ],
)
def test_a_status_never_makes_a_resource_unreadable(status: Any, expected: ArksApplicationStatus | None) -> None:
    found = read_resource(ArksApplication, application(status=status), None)
    assert isinstance(found, ArksApplication) and found.status is not None
    assert GOOD.spec == found.spec
    assert found.status.observed_generation is None, "so that its owner writes all of it again"
    if expected is not None:
        assert expected == found.status


def test_what_of_a_status_can_be_read_is_kept() -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {"phase": "Running", "observedGeneration": 3, "conditions": [{**ready, "status": "Perhaps"}, ready]}
    found = read_resource(ArksApplication, application(status=status), None)
    assert isinstance(found, ArksApplication) and found.status is not None
    assert ApplicationPhase.RUNNING is found.status.phase
    assert ["True"] == [condition.status for condition in found.status.conditions]


def test_a_status_that_its_owner_writes_names_the_fault(clock: FakeClock) -> None:
    written = ArksApplicationStatus(phase=ApplicationPhase.RUNNING)
    fault: Unreadable[Any] = Unreadable("spec.runtime: must be vllm")
    first = with_fault(written, None, fault, clock.now())
    assert isinstance(first, ArksApplicationStatus)
    [condition] = first.conditions
    assert ("Accepted", "False", "InvalidSpec") == (condition.type, condition.status, condition.reason)
    assert "spec.runtime: must be vllm; the last spec that could be read stays in effect" == condition.message
    clock.advance(60)
    known = GOOD.model_copy(update={"status": first})
    assert first == with_fault(written, known, fault, clock.now()), "the time is that of the first report"
    assert written is with_fault(written, known, None, clock.now())


def quota(**changes: Any) -> dict[str, Any]:
    metadata = {"name": "q", "namespace": "default"} | changes.pop("metadata", {})
    return {"metadata": metadata, "spec": {"quotas": [{"type": "total", "value": 1}]}, **changes}


def test_a_record_that_cannot_be_read_is_kept_unless_it_is_being_deleted() -> None:
    def keep(found: ArksQuota) -> int:
        return found.spec.quotas[0].value

    assert 1 == read_record(ArksQuota, quota(), keep)
    assert isinstance(read_record(ArksQuota, quota(spec={"quotas": []}), keep), Unreadable)
    deleted = quota(spec={"quotas": []}, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert read_record(ArksQuota, deleted, keep) is None


@given(
    st.sampled_from(CUSTOM_KINDS),
    st.dictionaries(st.sampled_from(["name", "namespace", "labels", "finalizers", "uid"]), json_values),
    json_values,
    json_values,
    st.booleans(),
)
def test_any_stored_object_is_read_or_named_as_unreadable(
    kind: type[Resource], metadata: dict[str, Any], spec: Any, status: Any, deleting: bool
) -> None:
    stored = {"metadata": metadata, "spec": spec, "status": status}
    if deleting:
        stored["metadata"] = {**metadata, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    found = read_resource(kind, stored, None)
    assert isinstance(found, kind) or (isinstance(found, Unreadable) and found.deleting == deleting)
