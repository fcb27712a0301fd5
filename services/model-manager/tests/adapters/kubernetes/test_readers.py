"""Jobs, pods and PVCs may be made by anyone: nothing in them stops model-manager."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arks.kit.cache import Cache
from arks.kit.kube.event_reasons import newest_event
from arks.kit.testing.informers import FakeObjects
from arks.kit.testing.values import json_values, kube_objects, texts
from arks.model_manager.adapters.kubernetes.interpretation import report_in
from arks.model_manager.adapters.kubernetes.manifests import (
    BEST_BYTES,
    FAILURES,
    FINGERPRINT,
    MODEL_LABEL,
    OUTCOME,
    PVC_UID,
    STORAGE_PATH,
    TEMPLATE,
)
from arks.model_manager.adapters.kubernetes.states import (
    ObservedJob,
    ObservedPod,
    ObservedPvc,
    parse_job,
    parse_pod,
    parse_pvc,
)
from arks.model_manager.domain.protocol import Outcome, Report, outcome_from_json, report_from_json

REQUIRED = {STORAGE_PATH: "default/p/m", FINGERPRINT: "f", TEMPLATE: "t"}
ANNOTATIONS = [*REQUIRED, FAILURES, BEST_BYTES, OUTCOME, PVC_UID]
objects = kube_objects([MODEL_LABEL], ANNOTATIONS, typed=True)
OWNERS = [{"kind": "ArksModel", "name": "m", "uid": "2", "controller": True}]
DEEP = "[" * 4000


def job(**annotations: str) -> dict[str, Any]:
    metadata = {"name": "j", "namespace": "default", "uid": "1", "annotations": {**REQUIRED, **annotations}}
    return {"metadata": metadata | {"ownerReferences": OWNERS}}


@pytest.mark.parametrize("failures", ["²", "many", "-1", "9" * 5000])
def test_failures_that_are_no_number_count_as_none(failures: str) -> None:
    found = parse_job(job(**{FAILURES: failures}))
    assert found is not None and 0 == found.failures


def test_an_outcome_that_is_nested_too_deeply_is_none() -> None:
    found = parse_job(job(**{OUTCOME: DEEP}))
    assert found is not None and found.outcome is None
    assert report_in(f"2026-01-01T00:00:00Z {DEEP}") is None


@given(objects, st.booleans())
@settings(max_examples=200)
def test_whatever_others_write_into_an_object_is_read(obj: dict[str, Any], marked: bool) -> None:
    if marked:
        obj["metadata"]["annotations"] = REQUIRED | obj["metadata"].get("annotations", {})
        obj["metadata"]["ownerReferences"] = OWNERS
    assert isinstance(parse_job(obj), ObservedJob | None)
    assert isinstance(parse_pod(obj), ObservedPod | None)
    assert isinstance(parse_pvc(obj), ObservedPvc)


@given(kube_objects([MODEL_LABEL], ANNOTATIONS, typed=False))
async def test_an_informer_survives_any_object(obj: dict[str, Any]) -> None:
    cache: Cache[Any] = Cache()
    await FakeObjects(obj, job()).follow(parse_job, cache)
    assert any(key.name == "j" for key, _ in cache.items())
    for read in (parse_pod, parse_pvc):
        await FakeObjects(obj).follow(read, Cache[Any]())


@given(texts | json_values.map(json.dumps) | st.dictionaries(texts, json_values).map(json.dumps))
def test_what_a_worker_writes_is_read_or_is_a_value_error(text: str) -> None:
    for read in (lambda: outcome_from_json(text), lambda: report_from_json(text.encode())):
        try:
            found: object = read()
        except ValueError:
            continue
        assert isinstance(found, Outcome | Report)
    report_in(f"2026-01-01T00:00:00Z {text}\n{text}")


@given(
    st.lists(
        st.fixed_dictionaries(
            {"metadata": st.fixed_dictionaries({}, optional={"creationTimestamp": texts})},
            optional={"lastTimestamp": texts, "eventTime": texts, "reason": texts, "message": texts, "type": texts},
        )
    )
)
def test_any_event_has_a_reason_and_a_message(events: list[dict[str, Any]]) -> None:
    assert all(isinstance(part, str) for part in newest_event(events))
