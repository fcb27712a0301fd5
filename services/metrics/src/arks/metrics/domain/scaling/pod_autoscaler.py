"""The HorizontalPodAutoscaler of an autoscaler, and what its status means. Pure."""

from collections.abc import Sequence
from typing import Any

from arks.contracts.resources import ArksApplication, ArksAutoscaler
from arks.metrics.domain.scaling.limits import Limit

WANTED = "arks_autoscaler_wanted_replicas"
"""Name of the External metric."""
AUTOSCALER = "autoscaler"
"""Label of the metric that selects an autoscaler."""
MANAGER = {"app.kubernetes.io/managed-by": "arks-metrics"}
_AT_ONCE: dict[str, Any] = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "tolerance": "0"}
"""Windows and steps are in the wanted number already. Without a tolerance of 0 (Kubernetes 1.35; older versions drop
the field) a difference of up to a tenth changes nothing."""


def scalable(autoscaler: ArksAutoscaler) -> bool:
    """Whether the target has the scale subresource: a stage has none, so app-deployer follows its fact."""
    return autoscaler.spec.target.stage is None


def manifest(autoscaler: ArksAutoscaler, *, to_zero: bool) -> dict[str, Any]:
    """`to_zero`: whether the cluster allows a minimum of 0 (its feature HPAScaleToZero)."""
    metadata = autoscaler.metadata
    owner = {
        "apiVersion": autoscaler.api_version,
        "kind": autoscaler.kind,
        "name": metadata.name,
        "uid": metadata.uid or "",
        "controller": True,
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": metadata.name,
            "namespace": autoscaler.namespace,
            "labels": MANAGER,
            "ownerReferences": [owner],
        },
        "spec": _spec(autoscaler, 0 if to_zero else 1),
    }


def lowest(autoscaler: ArksAutoscaler) -> int:
    """The smallest minimum of all times."""
    schedules = [item.min_replicas for item in autoscaler.spec.schedules if item.min_replicas is not None]
    return min([autoscaler.spec.min_replicas, *schedules])


def _highest(autoscaler: ArksAutoscaler) -> int:
    schedules = [item.max_replicas for item in autoscaler.spec.schedules if item.max_replicas is not None]
    return max([autoscaler.spec.max_replicas, *schedules])


def _spec(autoscaler: ArksAutoscaler, least: int) -> dict[str, Any]:
    """Bounds of all times: which of them hold is in the wanted number already."""
    highest = _highest(autoscaler)
    metric = {"name": WANTED, "selector": {"matchLabels": {AUTOSCALER: autoscaler.name}}}
    return {
        "scaleTargetRef": {
            "apiVersion": f"{ArksApplication.group}/{ArksApplication.version}",
            "kind": ArksApplication.__name__,
            "name": autoscaler.spec.target.name,
        },
        "minReplicas": max(lowest(autoscaler), least),
        "maxReplicas": highest,
        "metrics": [
            {
                "type": "External",
                "external": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "1"}},
            }
        ],
        "behavior": {
            "scaleUp": {**_AT_ONCE, "policies": [{"type": "Pods", "value": highest, "periodSeconds": 1}]},
            "scaleDown": {**_AT_ONCE, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}]},
        },
    }


def without_tolerance(spec: dict[str, Any]) -> dict[str, Any]:
    """The fields that every version of Kubernetes keeps."""
    behavior = {
        direction: {name: value for name, value in rules.items() if name != "tolerance"}
        for direction, rules in spec["behavior"].items()
    }
    return {**spec, "behavior": behavior}


def inactive(conditions: Sequence[dict[str, Any]]) -> Limit | None:
    """Why the HorizontalPodAutoscaler changes nothing; None while it works, and at 0, where it waits by design."""
    for condition in conditions:
        type_, reason = condition.get("type"), str(condition.get("reason", ""))
        if type_ in {"AbleToScale", "ScalingActive"} and condition.get("status") == "False":
            if reason == "ScalingDisabled":
                continue
            return Limit("HorizontalPodAutoscalerInactive", f"{reason}: {condition.get('message', '')}")
    return None
