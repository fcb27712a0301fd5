"""Pod templates on Kubernetes: the user's instanceSpec around the engine's container."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arks.app_deployer.domain.launch import drain
from arks.app_deployer.domain.launch.containers import HTTP_PORT, Container
from arks.contracts.resources import GROUP, ArksInstanceSpec, ImagePullSecret

Json = dict[str, Any]
MODELS = "models"
"""Name of the volume, which is mounted under / by this name."""
_OF_CONTAINER = ("securityContext", "resources")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_ELSEWHERE = frozenset(
    {"replicas", "labels", "annotations", "podSecurityContext", "volumes", "env", "volumeMounts", "lifecycle"}
    | set(_OF_CONTAINER)
    | set(_PROBES)
)
"""Fields of instanceSpec that are not fields of a pod's spec of the same name."""
_NOTHING = ArksInstanceSpec()


@dataclass(frozen=True, slots=True)
class Serving:
    """Ports, readiness and drain of a pod that serves requests."""

    port: int = HTTP_PORT
    readiness: Json = field(default_factory=lambda: http_readiness("/health", HTTP_PORT))
    """Used unless the user gives one."""
    drains: bool = True
    """The engine's /metrics show whether it has requests."""
    more_ports: Mapping[str, int] = field(default_factory=dict)


def http_readiness(path: str, port: int) -> Json:
    """Ends nothing while weights load: a pod that is not ready only gets no traffic."""
    return {"httpGet": {"path": path, "port": port}} | _PACE


def tcp_readiness(port: int) -> Json:
    return {"tcpSocket": {"port": port}} | _PACE


_PACE = {"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3}


@dataclass(frozen=True, slots=True)
class PodFrame:
    """What is the same for all pods of an application."""

    claim: str | None
    """Name of the model's PVC; None: the pod needs no model."""
    pull_secrets: tuple[ImagePullSecret, ...]
    grace_seconds: float
    """Default of pods that serve. An upper limit: they end as soon as they are idle."""


def template(
    name: str,
    container: Container,
    spec: ArksInstanceSpec | None,
    frame: PodFrame,
    *,
    labels: Mapping[str, str],
    serving: Serving | None,
) -> Json:
    """A pod template with one container; user labels under arks.ai/ are dropped.

    `serving` None: a worker, which has no probes and no port.
    """
    spec = spec or _NOTHING
    theirs = {name: value for name, value in spec.labels.items() if not name.startswith(f"{GROUP}/")}
    metadata: Json = {"labels": {**theirs, **labels}}
    if spec.annotations:
        metadata["annotations"] = dict(spec.annotations)
    return {"metadata": metadata, "spec": _pod(name, container, spec, frame, serving)}


def _pod(name: str, container: Container, spec: ArksInstanceSpec, frame: PodFrame, serving: Serving | None) -> Json:
    given = spec.to_dict()
    pod: Json = {field: value for field, value in given.items() if field not in _ELSEWHERE}
    if "podSecurityContext" in given:
        pod["securityContext"] = given["podSecurityContext"]
    if frame.pull_secrets:
        pod["imagePullSecrets"] = [secret.to_dict() for secret in frame.pull_secrets]
    if serving is not None:
        pod.setdefault("terminationGracePeriodSeconds", round(frame.grace_seconds))
    models: list[Json] = []
    if frame.claim is not None:
        models = [{"name": MODELS, "persistentVolumeClaim": {"claimName": frame.claim}}]
    if volumes := [*models, *given.get("volumes", [])]:
        pod["volumes"] = volumes
    grace_seconds = int(pod.get("terminationGracePeriodSeconds", 0))
    made = _container(name, container, given, mounted=frame.claim is not None)
    pod["containers"] = [made if serving is None else made | _serving(given, serving, grace_seconds)]
    return pod


def _container(name: str, container: Container, given: Json, *, mounted: bool) -> Json:
    made: Json = {
        "name": name,
        "image": container.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(container.command),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if container.env:
        made["env"] = [dict(variable) for variable in container.env]
    made |= {field: given[field] for field in _OF_CONTAINER if field in given}
    mounts = [{"name": MODELS, "mountPath": f"/{MODELS}", "readOnly": True}] if mounted else []
    if mounts := [*mounts, *given.get("volumeMounts", [])]:
        made["volumeMounts"] = mounts
    return made


def _serving(given: Json, serving: Serving, grace_seconds: int) -> Json:
    ports = {"http": serving.port, **serving.more_ports}
    made: Json = {
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()],
    }
    made |= {probe: given[probe] for probe in _PROBES if probe in given}
    made.setdefault("readinessProbe", serving.readiness)
    made["lifecycle"] = {"preStop": _draining(serving, grace_seconds)} | given.get("lifecycle", {})
    return made


def _draining(serving: Serving, grace_seconds: int) -> Json:
    """Before SIGTERM: the router takes the pod out, and running requests finish."""
    if not serving.drains:
        return {"sleep": {"seconds": max(1, min(drain.BLIND_SECONDS, grace_seconds - drain.MARGIN_SECONDS))}}
    return {"exec": {"command": drain.command(serving.port, grace_seconds)}}
