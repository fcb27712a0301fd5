"""Fields that one machine accepts, so that the manifests of a cluster can be applied to it, and does nothing with.

The rest has an effect there, or is a refusal in the status (`size`, `commandOverride` of a stage).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from arks.contracts.resources import Resource

_INSTANCE_USED: Final = frozenset({"env", "terminationGracePeriodSeconds", "replicas"})
_IMAGE: Final = ("runtimeImage", "runtimeVersion", "runtimeImagePullPolicy", "runtimeImagePullSecrets")
_WITHOUT_EFFECT: Final[Mapping[str, frozenset[str]]] = {
    "ArksApplication": frozenset({*_IMAGE, "driver", "podGroupPolicy"}),
    "ArksDisaggregatedApplication": frozenset(
        {
            *(*_IMAGE, "routerImage", "podGroupPolicy"),
            *(f"router.{name}" for name in ("commandOverride", "port", "int32", "metricPort", "routerArgs")),
            *("router.instanceSpec", "prefill.instanceSpec"),
            *("prefill.workerCommandOverride", "decode.workerCommandOverride"),
        }
    ),
    "ArksModel": frozenset({"cache", "imagePullSecrets", "instanceSpec", "storage.fluid", "storage.pvc"}),
}
"""By kind, below `spec`. A field here covers what is below it."""
_INSTANCES: Final[Mapping[str, str]] = {
    "ArksApplication": "instanceSpec",
    "ArksDisaggregatedApplication": "decode.instanceSpec",
}
SECRET_REF: Final = "secretKeyRef"  # noqa: S105  the name of a field


def without_effect(resource: Resource) -> list[str]:
    """Given fields of the resource's spec that one machine does nothing with, as `instanceSpec.nodeSelector`."""
    if resource.kind not in _WITHOUT_EFFECT:
        return []
    spec = resource.to_dict().get("spec", {})
    found = [path for path in sorted(_WITHOUT_EFFECT[resource.kind]) if _at(spec, path) is not None]
    at = _INSTANCES.get(resource.kind, "")
    instance = _at(spec, at) or {}
    found += [f"{at}.{name}" for name in instance if name not in _INSTANCE_USED]
    found += [f"{at}.{name}" for name in _variables(instance)]
    return [path for path in found if _at(spec, path) not in ({}, [])]


def _variables(instance: Mapping[str, Any]) -> Iterator[str]:
    """Variables whose value only Kubernetes has: all sources but Secrets."""
    for position, variable in enumerate(instance.get("env", ())):
        for source in variable.get("valueFrom", {}):
            if source != SECRET_REF:
                yield f"env[{position}].valueFrom.{source}"


def _at(spec: Mapping[str, Any], path: str) -> Any:
    """The value at a path of fields; None without one. A path into a list stands for itself."""
    if "[" in path:
        return path
    value: Any = spec
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def sentence_of(fields: list[str]) -> str:
    """`a, b have no effect on one machine`; empty for no fields."""
    if not fields:
        return ""
    return f"{', '.join(fields)} {'has' if len(fields) == 1 else 'have'} no effect on one machine"
