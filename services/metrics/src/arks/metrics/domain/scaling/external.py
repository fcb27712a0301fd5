"""The External metrics API: what is wanted, as HorizontalPodAutoscalers read it. Pure.

Format: https://github.com/kubernetes/metrics, `external.metrics.k8s.io/v1beta1`.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from arks.contracts.resources import ArksAutoscaler
from arks.metrics.domain.scaling.pod_autoscaler import AUTOSCALER, WANTED

GROUP, VERSION = "external.metrics.k8s.io", "v1beta1"
APPLICATION, STAGE = "application", "stage"
_TERM = re.compile(r"\s*([\w./-]+)\s*==?\s*([\w.-]+)\s*")


class UnknownSelector(ValueError):
    """A label selector with more than `name=value` terms."""


def labels_of(autoscaler: ArksAutoscaler) -> dict[str, str]:
    target = autoscaler.spec.target
    stage = {} if target.stage is None else {STAGE: target.stage}
    return {AUTOSCALER: autoscaler.name, APPLICATION: target.name, **stage}


def selected(selector: str) -> dict[str, str]:
    """Labels that a selector wants. Raises UnknownSelector."""
    found: dict[str, str] = {}
    for term in filter(None, selector.split(",")):
        match = _TERM.fullmatch(term)
        if match is None:
            raise UnknownSelector(f"the label selector {selector!r} has more than name=value terms")
        found[match[1]] = match[2]
    return found


def values(autoscalers: Iterable[ArksAutoscaler], wanted_labels: dict[str, str], now: datetime) -> dict[str, Any]:
    """The list of values. An autoscaler that has not decided yet has none, so that nothing is scaled by it.

    `now` in UTC.
    """
    timestamp = f"{now.replace(tzinfo=None).isoformat(timespec='seconds')}Z"  # strftime takes a fifth of an answer
    return {
        "kind": "ExternalMetricValueList",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": {},
        "items": [
            {
                "metricName": WANTED,
                "metricLabels": labels_of(autoscaler),
                "timestamp": timestamp,
                "value": str(autoscaler.status.wanted_replicas),
            }
            for autoscaler in autoscalers
            if autoscaler.status is not None
            and autoscaler.status.wanted_replicas is not None
            and wanted_labels.items() <= labels_of(autoscaler).items()
        ],
    }


def group() -> dict[str, Any]:
    version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": GROUP, "versions": [version], "preferredVersion": version}


def resources() -> dict[str, Any]:
    """What discovery shows."""
    resource = {
        "name": WANTED,
        "singularName": "",
        "namespaced": True,
        "kind": "ExternalMetricValueList",
        "verbs": ["get"],
    }
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{GROUP}/{VERSION}",
        "resources": [resource],
    }


def failure(code: int, reason: str, message: str) -> dict[str, Any]:
    """An error, as clients of Kubernetes read it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
