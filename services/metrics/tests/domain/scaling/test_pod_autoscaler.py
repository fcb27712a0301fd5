"""The HorizontalPodAutoscaler of an autoscaler."""

from typing import Any

import pytest

from arks.contracts.resources import ArksAutoscaler
from arks.metrics.domain.scaling.limits import Limit
from arks.metrics.domain.scaling.pod_autoscaler import inactive, manifest, without_tolerance


def autoscaler(**spec: Any) -> ArksAutoscaler:
    given = {"target": {"name": "app"}, "maxReplicas": 5, "objectives": {"slotUsePercent": 50}, **spec}
    metadata = {"name": "chat", "namespace": "team", "uid": "u1"}
    return ArksAutoscaler.from_dict({"metadata": metadata, "spec": given})


def test_it_scales_the_application_to_the_wanted_number_at_once() -> None:
    made = manifest(autoscaler(minReplicas=2), to_zero=True)
    assert ("chat", "team") == (made["metadata"]["name"], made["metadata"]["namespace"])
    spec = made["spec"]
    assert {"apiVersion": "arks.ai/v1", "kind": "ArksApplication", "name": "app"} == spec["scaleTargetRef"]
    assert (2, 5) == (spec["minReplicas"], spec["maxReplicas"])
    [metric] = spec["metrics"]
    assert {"autoscaler": "chat"} == metric["external"]["metric"]["selector"]["matchLabels"]
    assert {"type": "AverageValue", "averageValue": "1"} == metric["external"]["target"]
    assert [0, 0] == [rules["stabilizationWindowSeconds"] for rules in spec["behavior"].values()]
    assert ["0", "0"] == [rules["tolerance"] for rules in spec["behavior"].values()]


def test_its_autoscaler_owns_it() -> None:
    [owner] = manifest(autoscaler(), to_zero=True)["metadata"]["ownerReferences"]
    assert ("ArksAutoscaler", "chat", "u1", True) == tuple(
        owner[name] for name in ("kind", "name", "uid", "controller")
    )


@pytest.mark.parametrize(("to_zero", "minimum"), [(True, 0), (False, 1)])
def test_a_cluster_without_scale_to_zero_has_one_as_the_least(to_zero: bool, minimum: int) -> None:
    assert minimum == manifest(autoscaler(minReplicas=0), to_zero=to_zero)["spec"]["minReplicas"]


def test_its_bounds_are_those_of_all_times() -> None:
    always = {"start": "0 8 * * *", "end": "0 18 * * *"}
    schedules = [{"name": "day", **always, "minReplicas": 1}, {"name": "launch", **always, "maxReplicas": 9}]
    spec = manifest(autoscaler(minReplicas=3, schedules=schedules), to_zero=True)["spec"]
    assert (1, 9) == (spec["minReplicas"], spec["maxReplicas"])


def test_what_older_clusters_drop_is_not_compared() -> None:
    spec = without_tolerance(manifest(autoscaler(), to_zero=True)["spec"])
    assert [False, False] == ["tolerance" in rules for rules in spec["behavior"].values()]
    assert 0 == spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"]


def condition(type_: str, status: str, reason: str) -> dict[str, str]:
    return {"type": type_, "status": status, "reason": reason, "message": "text"}


@pytest.mark.parametrize(
    ("conditions", "limit"),
    [
        ([], None),
        ([condition("AbleToScale", "True", "ReadyForNewScale"), condition("ScalingActive", "True", "Valid")], None),
        ([condition("ScalingLimited", "True", "TooFewReplicas")], None),
        ([condition("ScalingActive", "False", "ScalingDisabled")], None),
        (
            [condition("ScalingActive", "False", "FailedGetExternalMetric")],
            Limit("HorizontalPodAutoscalerInactive", "FailedGetExternalMetric: text"),
        ),
        (
            [condition("AbleToScale", "False", "FailedGetScale")],
            Limit("HorizontalPodAutoscalerInactive", "FailedGetScale: text"),
        ),
    ],
)
def test_one_that_cannot_act_limits_its_autoscaler(conditions: list[dict[str, Any]], limit: Limit | None) -> None:
    assert limit == inactive(conditions)
