"""Find the parts of a release of the chart in objects of Kubernetes (pure)."""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SecretKey:
    """One value of a Secret."""

    secret: str
    key: str


def labels_of(component: str) -> str:
    """The selector of a component's pods."""
    return f"app.kubernetes.io/part-of=arks,app.kubernetes.io/component={component}"


def ready_pod(pods: Iterable[Object]) -> Object | None:
    """A pod that takes connections; None if there is none."""
    return next((pod for pod in pods if _is_ready(pod)), None)


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def port_of(pod: Object, name: str) -> int | None:
    """The number of a named port; containers that run beside the others may be init containers."""
    containers = (*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or []))
    ports = (port for container in containers for port in container.get("ports") or [])
    return next((int(port["containerPort"]) for port in ports if port.get("name") == name), None)


def secret_key_of(pod: Object, file: str) -> SecretKey | None:
    """The Secret and key that a pod has as the file of that name, whatever the operator called them."""
    return next((found for path, found in _mounted(pod) if path == file), None)


def _mounted(pod: Object) -> Iterator[tuple[str, SecretKey]]:
    for volume in pod["spec"].get("volumes") or []:
        for source in (volume.get("projected") or {}).get("sources") or []:
            secret = source.get("secret") or {}
            for item in secret.get("items") or []:
                yield item["path"], SecretKey(secret["name"], item["key"])


def value_in(secret: Object, key: str) -> str | None:
    """The value of a key of a Secret, decoded."""
    value = (secret.get("data") or {}).get(key)
    return None if value is None else base64.b64decode(value).decode().strip()
