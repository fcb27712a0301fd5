"""The API server's pods: read, and kept by application."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from arks.app_deployer.domain.launch.manifests import APPLICATION, PART, REVISION, ROLE, SLOTS
from arks.app_deployer.domain.pods import Pod, Trouble
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import Kind
from arks.kit.telemetry import redact
from arks.kit.types import Json

POD = Kind("", "v1", "Pod", "pods")
_CONTAINERS = frozenset({"leader", "worker", "main"})
_STUCK = {
    "ErrImagePull": "ImagePullBackOff",
    "ImagePullBackOff": "ImagePullBackOff",
    "InvalidImageName": "InvalidImageName",
    "ErrImageNeverPull": "ErrImageNeverPull",
    "CreateContainerConfigError": "CreateContainerConfigError",
    "CreateContainerError": "CreateContainerError",
    "RunContainerError": "RunContainerError",
}
"""Reason why a container keeps waiting -> reason to report. A failed pull and the pause after it alternate every few
seconds, so they count as one state."""
_MOST_LINES = 5
_MESSAGE_CHARACTERS = 1500

Listener = Callable[[Key, Pod | None, Pod | None], None]
"""(application, the pod before, the pod now)."""


class PodIndex:
    """All pods of applications, current while `run` runs."""

    def __init__(self, api: KubeApi, namespace: str | None) -> None:
        self.cache: Cache[Pod] = Cache()
        self._informer = Informer(api, POD, read_pod, self.cache, namespace=namespace, labels=APPLICATION)
        self._known: dict[Key, Pod] = {}
        self._by_application: dict[Key, dict[str, Pod]] = defaultdict(dict)
        self._listeners: list[Listener] = []
        self.cache.subscribe(self._changed)

    async def run(self) -> None:
        await self._informer.run()

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def of(self, application: Key) -> Iterable[Pod]:
        return self._by_application.get(application, {}).values()

    def applications(self) -> set[Key]:
        return set(self._by_application)

    def _changed(self, key: Key) -> None:
        before, now = self._known.pop(key, None), self.cache.get(key)
        if before is not None and (now is None or now.application != before.application):
            self._forget(Key(key.namespace, before.application), before)
        if now is not None:
            self._known[key] = now
            self._by_application[Key(key.namespace, now.application)][now.name] = now
        pod = now or before
        if pod is not None:
            for listener in self._listeners:
                listener(Key(key.namespace, pod.application), before, now)

    def _forget(self, application: Key, pod: Pod) -> None:
        pods = self._by_application[application]
        pods.pop(pod.name, None)
        if not pods:
            del self._by_application[application]


def read_pod(obj: Json) -> Pod | None:
    """None for a pod that belongs to no application."""
    metadata, spec, status = obj["metadata"], obj.get("spec", {}), obj.get("status", {})
    labels: dict[str, str] = metadata.get("labels", {})
    annotations: dict[str, str] = metadata.get("annotations", {})
    part = labels.get(PART, "")
    if APPLICATION not in labels or (ROLE not in labels and part != "router"):
        return None
    leader = labels.get(ROLE, "leader") == "leader"
    leader_name = metadata["name"] if leader else metadata["name"].rpartition("-")[0]
    main, all_replicas = _container_statuses(status)
    conditions = {item["type"]: item for item in status.get("conditions", [])}
    unschedulable = _unschedulable(conditions)
    last_end, last_lines = _last_end(main)
    return Pod(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        application=labels[APPLICATION],
        part=part,
        leader=leader,
        leader_name=leader_name,
        index=_number(leader_name),
        ip=status.get("podIP", ""),
        ready=conditions.get("Ready", {}).get("status") == "True",
        running="running" in main.get("state", {}),
        terminating="deletionTimestamp" in metadata,
        port=_port(spec),
        revision=annotations.get(REVISION, ""),
        slots=int(annotations.get(SLOTS, 0)),
        restarts=main.get("restartCount", 0),
        ends=_ends(main),
        last_end=last_end,
        last_lines=last_lines,
        trouble=_problem_of(status, spec, all_replicas, unschedulable),
        unschedulable_since=_time(unschedulable),
    )


def _container_statuses(status: Json) -> tuple[Json, list[Json]]:
    """Status of the engine's container, and of all containers in the order of their start."""
    own = status.get("containerStatuses", [])
    main: Json = next((item for item in own if item["name"] in _CONTAINERS), {})
    return main, [*status.get("initContainerStatuses", []), *own]


def _port(spec: Json) -> int:
    """Port of the engine's container; 0 for a worker."""
    ports = [
        port for item in spec.get("containers", []) if item["name"] in _CONTAINERS for port in item.get("ports", [])
    ]
    return next((port["containerPort"] for port in ports if port.get("name") == "http"), 0)


def _number(leader_name: str) -> int:
    number = leader_name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def _ends(container: Json) -> int:
    """The restart is only counted once the container runs again."""
    state = container.get("state", {})
    dead = "terminated" in state or ("waiting" in state and "terminated" in container.get("lastState", {}))
    return int(container.get("restartCount", 0)) + dead


def _last_end(container: Json) -> tuple[str, tuple[str, ...]]:
    ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated")
    if not ended:
        return "", ()
    lines = [redact(line.rstrip()) for line in ended.get("message", "").splitlines() if line.strip()][-_MOST_LINES:]
    reason = ended.get("reason", "")
    shown = f" ({reason})" if reason not in {"", "Error", "Completed"} else ""
    message = f"it ended with status {ended.get('exitCode', 0)}{shown}"
    return message + ("; its last lines: " + "\n".join(lines) if lines else ""), tuple(lines)


def _unschedulable(conditions: dict[str, Json]) -> Json | None:
    scheduled = conditions.get("PodScheduled", {})
    return scheduled if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable" else None


def _time(condition: Json | None) -> datetime | None:
    if condition is None or not condition.get("lastTransitionTime"):
        return None
    return datetime.fromisoformat(condition["lastTransitionTime"])


def _problem_of(status: Json, spec: Json, containers: list[Json], unschedulable: Json | None) -> Trouble | None:
    if unschedulable is not None:
        return Trouble("Unschedulable", redact(unschedulable.get("message", ""))[:_MESSAGE_CHARACTERS])
    if status.get("phase") == "Failed" and status.get("reason"):
        return Trouble(status["reason"], redact(status.get("message", ""))[:_MESSAGE_CHARACTERS])
    for container in containers:
        waiting: dict[str, Any] = container.get("state", {}).get("waiting", {})
        reason = waiting.get("reason", "")
        if reason in _STUCK:
            return Trouble(
                _STUCK[reason], _waiting_message(reason, waiting.get("message", ""), _image(spec, container))
            )
        if reason == "CrashLoopBackOff" and container["name"] not in _CONTAINERS:
            return Trouble("InitContainerCrashLoop", f"container {container['name']}: {_last_end(container)[0]}")
    return None


def _image(spec: Json, container: Json) -> str:
    """Image as written in the spec: the status may hold a resolved name."""
    all_replicas = [*spec.get("initContainers", []), *spec.get("containers", [])]
    images = {item["name"]: item["image"] for item in all_replicas}
    return str(images.get(container["name"], container.get("image", "")))


def _waiting_message(reason: str, message: str, image: str) -> str:
    """The kubelet's message of the pause after a failed pull, used for the failed pull too."""
    if reason == "ErrImagePull":
        message = f'Back-off pulling image "{image}": ErrImagePull: {message}'
    return redact(message or reason)[:_MESSAGE_CHARACTERS]
