"""The API server's pods: read, and kept by application."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from arks.app_deployer.domain.launch import read_ahead
from arks.app_deployer.domain.launch.manifests import PART, REVISION, ROLE, SLOTS
from arks.app_deployer.domain.launch.scheduling import POD_GROUP
from arks.app_deployer.domain.launch.slots import slots_in
from arks.app_deployer.domain.pods import Pod, Trouble
from arks.app_deployer.domain.start_phases import Run, StartPhases
from arks.contracts.names import APPLICATION_LABEL
from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import POD
from arks.kit.kube.lenient import number_in, time_in
from arks.kit.kube.pod_state import (
    CRASH_LOOP_BACK_OFF,
    STUCK,
    ContainerState,
    PodState,
    Waiting,
    pod_state,
)
from arks.kit.telemetry import redact
from arks.kit.types import Json

_CONTAINERS = frozenset({"leader", "worker", "main"})
_MOST_LINES = 5
_MESSAGE_CHARACTERS = 1500

Listener = Callable[[Key, Pod | None, Pod | None], None]
"""(application, the pod before, the pod now)."""


class PodIndex:
    """All pods of applications, current while `run` runs."""

    def __init__(self, api: KubeApi, namespace: str | None) -> None:
        self.cache: Cache[Pod] = Cache()
        self._informer = Informer(api, POD, read_pod, self.cache, namespace=namespace, labels=APPLICATION_LABEL)
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
    """None for a pod that belongs to no application.

    Labels and annotations are of the pod's author: a value that is none has the default.
    """
    metadata, spec = obj["metadata"], obj.get("spec", {})
    labels: dict[str, str] = metadata.get("labels", {})
    annotations: dict[str, str] = metadata.get("annotations", {})
    part = labels.get(PART, "")
    if APPLICATION_LABEL not in labels or (ROLE not in labels and part != "router"):
        return None
    leader = labels.get(ROLE, "leader") == "leader"
    leader_name = metadata["name"] if leader else metadata["name"].rpartition("-")[0]
    state = pod_state(obj)
    main = state.container(*_CONTAINERS)
    last_end, last_lines = _last_end(main)
    return Pod(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        application=labels[APPLICATION_LABEL],
        part=part,
        leader=leader,
        leader_name=leader_name,
        index=number_in(leader_name.rpartition("-")[2]),
        ip=obj.get("status", {}).get("podIP", ""),
        ready=state.ready,
        running=main is not None and main.running,
        terminating=state.deleting,
        port=_port(spec),
        revision=annotations.get(REVISION, ""),
        slots=number_in(annotations.get(SLOTS, "")) or slots_in(_command(spec)),
        restarts=main.restarts if main is not None else 0,
        ends=main.ends if main is not None else 0,
        last_end=last_end,
        last_lines=last_lines,
        pod_group=annotations.get(POD_GROUP, ""),
        trouble=_trouble_of(state),
        unschedulable_since=state.unscheduled_since if state.unschedulable else None,
        created_at=time_in(metadata.get("creationTimestamp")),
        phases=_phases(state, main) if leader else None,
    )


def _phases(state: PodState, main: ContainerState | None) -> StartPhases | None:
    ready_at, scheduled_at = state.true_since.get("Ready"), state.true_since.get("PodScheduled")
    if ready_at is None or main is None or main.started_at is None:
        return None
    runs = [
        Run(container.name == read_ahead.CONTAINER, container.started_at, container.terminated.finished_at)
        for container in state.containers
        if container.init and container.started_at and container.terminated and container.terminated.finished_at
    ]
    again = main.ends > 0 or scheduled_at is None
    prepared_at = state.true_since.get("PodReadyToStartContainers")
    return StartPhases.of_pod(None if again else scheduled_at, prepared_at, runs, main.started_at, ready_at)


def _engines(spec: Json) -> list[Json]:
    return [item for item in spec.get("containers", []) if item["name"] in _CONTAINERS]


def _command(spec: Json) -> list[str]:
    """Return the words with which the engine's container starts."""
    return [word for item in _engines(spec) for words in ("command", "args") for word in item.get(words) or ()]


def _port(spec: Json) -> int:
    """Port of the engine's container; 0 for a worker."""
    ports = (port for item in _engines(spec) for port in item.get("ports", []))
    return next((port["containerPort"] for port in ports if port.get("name") == "http"), 0)


def _last_end(container: ContainerState | None) -> tuple[str, tuple[str, ...]]:
    """How the container ended last, in words, and its last lines; empty if it has not ended."""
    if container is None or container.ended is None:
        return "", ()
    ended = container.ended
    lines = [redact(line) for line in ended.lines][-_MOST_LINES:]
    shown = f" ({ended.reason})" if ended.reason not in {"", "Error", "Completed"} else ""
    message = f"it ended with status {ended.exit_code}{shown}"
    return message + ("; its last lines: " + "\n".join(lines) if lines else ""), tuple(lines)


def _trouble_of(state: PodState) -> Trouble | None:
    if state.unscheduled is not None and state.unschedulable:
        return Trouble("Unschedulable", redact(state.unscheduled.message)[:_MESSAGE_CHARACTERS])
    if state.phase == "Failed" and state.reason:
        return Trouble(state.reason, redact(state.message)[:_MESSAGE_CHARACTERS])
    for container, waiting in state.waiting():
        reason = waiting.settled_reason
        if reason in STUCK:
            return Trouble(reason, _waiting_message(waiting, container.image))
        if reason == CRASH_LOOP_BACK_OFF and container.name not in _CONTAINERS:
            return Trouble("InitContainerCrashLoop", f"container {container.name}: {_last_end(container)[0]}")
    return None


def _waiting_message(waiting: Waiting, image: str) -> str:
    """The kubelet's message of the pause after a failed pull, used for the failed pull too."""
    message = waiting.message
    if waiting.reason == "ErrImagePull":
        message = f'Back-off pulling image "{image}": ErrImagePull: {message}'
    return redact(message or waiting.reason)[:_MESSAGE_CHARACTERS]
