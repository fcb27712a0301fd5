"""Pod templates on Kubernetes: the user's instanceSpec around the engine's container."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from arks.app_deployer.domain.launch import drain, node_copy, read_ahead
from arks.app_deployer.domain.launch.containers import HTTP_PORT, Container
from arks.app_deployer.domain.launch.node_copy import NodeCopy
from arks.app_deployer.domain.launch.profiles import Profile
from arks.app_deployer.domain.launch.shared_memory import PATH, VOLUME
from arks.contracts.resources import ArksInstanceSpec, ImagePullSecret
from arks.kit.kube.pod_template import PROBES, container_fields, pod_fields, pull_secrets, template_metadata
from arks.kit.types import Json

MODELS = "models"
"""Name of the volume, which is mounted under / by this name."""
_NOTHING = ArksInstanceSpec()


@dataclass(frozen=True, slots=True)
class Serving:
    """Ports, readiness and drain of a pod that serves requests."""

    port: int = HTTP_PORT
    readiness: Json = field(default_factory=lambda: http_readiness("/health", HTTP_PORT))
    """Used unless the user gives one."""
    drain: str = "metrics"
    """As in the runtime's profile."""
    liveness: Json | None = None
    """Used unless the user gives one; None: there is none."""
    more_ports: Mapping[str, int] = field(default_factory=dict)


def http_readiness(path: str, port: int) -> Json:
    """Ends nothing while weights load: a pod that is not ready only gets no traffic."""
    return {"httpGet": {"path": path, "port": port}} | _PACE


def serving_of(profile: Profile) -> Serving:
    """As the runtime's profile has it."""
    readiness = profile.readiness or http_readiness("/health", profile.port)
    return Serving(profile.port, readiness, profile.drain, profile.liveness)


_PACE = {"periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3}


@dataclass(frozen=True, slots=True)
class PodFrame:
    """What is the same for all pods of an application."""

    claim: str | None
    """Name of the model's PVC; None: the pod needs no model."""
    pull_secrets: tuple[ImagePullSecret, ...]
    grace_seconds: float
    """Default of pods that serve. An upper limit: they end as soon as they are idle."""
    profile: Profile | None = None
    """Of the engine; None: the pod runs none."""
    pull_policy: str | None = None
    """None: the profile's."""
    read_ahead: str = ""
    """Path of the model that is read into the page cache before the engine starts; empty: none."""
    scheduling: Json = field(default_factory=dict)
    """Fields of the pod's spec for its scheduler, unless the user gives them."""
    copy: NodeCopy | None = None
    """Where a node may have a copy of the model; None: it is loaded from the PVC."""


def template(
    name: str,
    container: Container,
    spec: ArksInstanceSpec | None,
    frame: PodFrame,
    *,
    labels: Mapping[str, str],
    serving: Serving | None,
    shared_memory: bool = False,
) -> Json:
    """A pod template with one container; user labels under arks.ai/ are dropped.

    `serving` None: a worker, which has no probes and no port.
    """
    spec = spec or _NOTHING
    pod = _pod(name, container, spec, frame, serving)
    if shared_memory:
        _add_shared_memory(pod, frame)
    return {"metadata": template_metadata(spec, labels), "spec": pod}


def _add_shared_memory(pod: Json, frame: PodFrame) -> None:
    """Mount memory at /dev/shm, unless something else is there."""
    container = pod["containers"][0]
    if pod.get("hostIPC") or any(mount["mountPath"].rstrip("/") == PATH for mount in container.get("volumeMounts", [])):
        return
    memory = frame.profile.shared_memory if frame.profile is not None else None
    limit = {"sizeLimit": memory.size_limit} if memory is not None and memory.size_limit else {}
    pod.setdefault("volumes", []).append({"name": VOLUME, "emptyDir": {"medium": "Memory"} | limit})
    container.setdefault("volumeMounts", []).append({"name": VOLUME, "mountPath": PATH})


def _pod(name: str, container: Container, spec: ArksInstanceSpec, frame: PodFrame, serving: Serving | None) -> Json:
    pod = {**frame.scheduling, **pod_fields(spec), **pull_secrets(frame.pull_secrets)}
    if serving is not None:
        pod.setdefault("terminationGracePeriodSeconds", round(frame.grace_seconds))
    models: list[Json] = []
    if frame.claim is not None:
        models = [{"name": MODELS, "persistentVolumeClaim": {"claimName": frame.claim}}]
        if frame.copy is not None:
            models = node_copy.volumes(frame.copy, MODELS, frame.claim)
            pod["affinity"] = node_copy.with_preference(pod.get("affinity"), frame.copy)
    ours = [dict(volume) for volume in frame.profile.volumes] if frame.profile is not None else []
    if volumes := [*models, *spec.to_dict().get("volumes", []), *ours]:
        pod["volumes"] = volumes
    grace_seconds = int(pod.get("terminationGracePeriodSeconds", 0))
    made = _container(name, container, spec, frame)
    pod["containers"] = [made if serving is None else made | _serving(spec, serving, grace_seconds)]
    if frame.read_ahead:
        pod["initContainers"] = [*pod.get("initContainers", []), _read_ahead(made, frame)]
    return pod


def _read_ahead(engine: Json, frame: PodFrame) -> Json:
    """In the engine's image, which the node needs anyway, with the engine's CPU and memory: its pages count against its
    own limit, and without limits the pod would lose its class of service.
    """
    same = ("image", "imagePullPolicy", "terminationMessagePolicy", "securityContext", "volumeMounts")
    made: Json = {name: engine[name] for name in same if name in engine}
    resources = {
        kind: {name: engine["resources"][kind][name] for name in ("cpu", "memory") if name in engine["resources"][kind]}
        for kind in ("requests", "limits")
        if engine.get("resources", {}).get(kind)
    }
    if resources:
        made["resources"] = resources
    return {
        "name": read_ahead.CONTAINER,
        **made,
        "command": _with_copy(frame, read_ahead.command("python3", frame.read_ahead)),
    }


def _with_copy(frame: PodFrame, command: Sequence[str]) -> list[str]:
    return list(command) if frame.copy is None else node_copy.command(frame.copy, f"/{MODELS}", command)


def _container(name: str, container: Container, spec: ArksInstanceSpec, frame: PodFrame) -> Json:
    profile = frame.profile
    made: Json = {
        "name": name,
        "image": container.image,
        "imagePullPolicy": frame.pull_policy or (profile.image_pull_policy if profile is not None else "IfNotPresent"),
        "command": _with_copy(frame, container.command),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if container.env:
        made["env"] = [dict(variable) for variable in container.env]
    given = container_fields(spec, ("securityContext", "resources", "volumeMounts"))
    if profile is not None and profile.security_context:
        given.setdefault("securityContext", dict(profile.security_context))
    mounts = [{"name": MODELS, "mountPath": f"/{MODELS}", "readOnly": True}] if frame.claim is not None else []
    if frame.copy is not None:
        mounts = node_copy.mounts(MODELS, f"/{MODELS}")
    ours = [dict(mount) for mount in profile.volume_mounts] if profile is not None else []
    if mounts := [*mounts, *given.get("volumeMounts", []), *ours]:
        given["volumeMounts"] = mounts
    return made | given


def _serving(spec: ArksInstanceSpec, serving: Serving, grace_seconds: int) -> Json:
    ports = {"http": serving.port, **serving.more_ports}
    made: Json = {
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()],
    }
    made |= container_fields(spec, PROBES)
    made.setdefault("readinessProbe", serving.readiness)
    if serving.liveness is not None:
        made.setdefault("livenessProbe", serving.liveness)
    hooks = container_fields(spec, ("lifecycle",)).get("lifecycle", {})
    made["lifecycle"] = {"preStop": _draining(serving, grace_seconds)} | hooks
    return made


def _draining(serving: Serving, grace_seconds: int) -> Json:
    """Before SIGTERM: the router takes the pod out, and running requests finish."""
    if serving.drain == "sleep":
        return {"sleep": {"seconds": max(1, min(drain.BLIND_SECONDS, grace_seconds - drain.MARGIN_SECONDS))}}
    page = "engine" if serving.drain == "metrics" else serving.drain
    return {"exec": {"command": drain.command(serving.port, grace_seconds, page=page)}}
