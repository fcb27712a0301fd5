"""Applications on Kubernetes: each a LeaderWorkerSet and a Service; LeaderWorkerSet's own controller runs the pods."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from arks.app_deployer.adapters.kube.children import LEADER_WORKER_SET, Child, Children
from arks.app_deployer.adapters.kube.pods import PodBook
from arks.app_deployer.adapters.metrics import EngineMeters
from arks.app_deployer.config import Settings
from arks.app_deployer.domain import checks, surge
from arks.app_deployer.domain.pods import History, Pod, Told, first_look, next_look, replica_of
from arks.app_deployer.domain.surge import Leader
from arks.app_deployer.domain.workload import Change, Observed, Refusal, Replica, Workload
from arks.app_deployer.launch import application as lines
from arks.app_deployer.launch import manifests
from arks.app_deployer.launch.manifests import Templates
from arks.contracts.resources import ArksApplication, ArksDisaggregatedApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.clock import Clock
from arks.kit.errors import Invalid, NotFound
from arks.kit.kube.api import KubeApi
from arks.kit.reconcile import Key

REFUSED = "UnderlayReconcileFailed"
"""Spelled as clients of the API know it."""
_REFUSED_AGAIN_SECONDS = 30.0
"""The API server may be of another opinion by then: a quota was raised, LeaderWorkerSet was installed."""


@dataclass(slots=True)
class _Group:
    """What is known of one application besides its objects."""

    revision: str = ""
    refusal: Refusal | None = None
    histories: dict[str, History] = field(default_factory=dict)
    restarts_known: dict[str, int] = field(default_factory=dict)
    again_seconds: float | None = None


class KubeWorkloads:
    """`runs` run as long as the service does; `start` returns when everything that exists is known."""

    def __init__(
        self, settings: Settings, *, api: KubeApi, pods: PodBook, services: Children, clock: Clock, meters: EngineMeters
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._meters = meters
        self._images = settings.images()
        self._pods = pods
        self._services = services
        self._sets = Children(api, LEADER_WORKER_SET, settings.watch_namespace)
        self._groups: dict[Key, _Group] = {}
        self._listeners: list[Callable[[Change], None]] = []
        self.runs = [self._sets.run]
        pods.subscribe(self._pod_changed)
        self._sets.subscribe(self._child_changed)
        services.subscribe(self._child_changed)

    async def start(self) -> None:
        for cache in (self._pods.cache, self._sets.cache, self._services.cache):
            await cache.synced.wait()

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        self._listeners.append(listener)

    # --- the port

    def problem(self, application: ArksApplication | ArksDisaggregatedApplication) -> Refusal | None:
        if isinstance(application, ArksDisaggregatedApplication):
            return None
        spec = application.spec
        try:
            group = lines.group(spec, "/", self._images)
        except lines.NoLaunch as error:
            return Refusal(checks.RUNTIME_NOT_SUPPORTED, str(error))
        if spec.group_size > 1 and group.worker is None:
            message = f"runtime {spec.effective_runtime} runs on one node: leave size out, or set it to 1"
            return Refusal(checks.RUNTIME_NOT_SUPPORTED, message)
        return None

    def keys(self) -> set[Key]:
        sets = {key for key, child in self._sets.cache.items() if key.name == child.application}
        return sets | {key for key in self._pods.applications() if self._leaders(key)}

    def observe(self, key: Key) -> Observed:
        group = self._groups.get(key) or _Group()
        revision = group.revision or (child.revision if (child := self._sets.get(key)) is not None else "")
        replicas = tuple(self._replica(key, group, pod, revision) for pod in self._leaders(key))
        return Observed(replicas, group.refusal, group.again_seconds)

    def observed(self) -> Iterator[tuple[Key, Observed]]:
        return iter([(key, self.observe(key)) for key in self.keys()])

    async def apply(self, workload: Workload) -> Observed:
        application = workload.application
        key = Key(application.namespace, application.name)
        group = self._groups.setdefault(key, _Group())
        self._recall(group, application)
        if workload.model is None:
            await self._sets.scale_down(key, application.spec.replicas)
            return self.observe(key)
        try:
            await self._services.apply(manifests.application_service(application))
            await self._apply_set(key, group, application, workload.model)
            group.refusal = None
        except (Invalid, NotFound) as error:
            group.refusal = Refusal(REFUSED, _refusal_message(error))
            group.again_seconds = _REFUSED_AGAIN_SECONDS
        return self.observe(key)

    async def remove(self, key: Key, grace_seconds: float) -> Observed:
        """Pods end as Kubernetes ends them: each within its grace period."""
        set_gone = await self._sets.delete(key)
        service_gone = await self._services.delete(Key(key.namespace, manifests.service_name(key.name)))
        observed = self.observe(key)
        if set_gone and service_gone and not observed.replicas:
            self._groups.pop(key, None)
            self._meters.forget(key)
            return Observed()
        return Observed(observed.replicas, leaving=True)

    # --- steps

    async def _apply_set(self, key: Key, group: _Group, application: ArksApplication, model: ModelFact) -> None:
        made = manifests.templates(application, model, self._images, self._settings.pod_grace_seconds)
        group.revision = made.revision
        wanted = application.spec.replicas
        leaders = self._leaders_now(key, made.revision)
        in_place, group.again_seconds = self._room(wanted, leaders, made, self._sets.get(key))
        body = manifests.leader_worker_set(
            application,
            made,
            surge.plan(wanted, leaders, in_place=in_place),
            name=key.name,
            labels={manifests.APPLICATION: key.name},
            in_place=in_place,
        )
        await self._sets.apply(body)

    def _room(
        self, wanted: int, leaders: list[Leader], made: Templates, there: Child | None
    ) -> tuple[bool, float | None]:
        """Whether old replicas must make room for new ones, and when to ask again."""
        if there is not None and there.in_place == made.revision:
            return True, None
        left_seconds = surge.seconds_until_in_place(wanted, leaders, self._settings.room_seconds)
        if left_seconds is None:
            return False, None
        return (True, None) if left_seconds <= 0 else (False, left_seconds)

    def _leaders_now(self, key: Key, revision: str) -> list[Leader]:
        return [
            Leader(pod.index, pod.ready, pod.revision == revision, self._unschedulable_seconds(key, pod))
            for pod in self._leaders(key)
            if not pod.leaving
        ]

    def _unschedulable_seconds(self, key: Key, leader: Pod) -> float | None:
        now = self._clock.now()
        times = [pod.unschedulable_since for pod in (leader, *self._workers(key, leader))]
        waits = [(now - time).total_seconds() for time in times if time is not None]
        return max(waits) if waits else None

    @staticmethod
    def _recall(group: _Group, application: ArksApplication) -> None:
        """Restarts that an app-deployer before us has counted: they only ever rise."""
        if group.restarts_known or application.status is None:
            return
        group.restarts_known = {one.name: one.restarts for one in application.status.instances}
        for name, restarts in group.restarts_known.items():
            history = group.histories.get(name)
            if history is not None and history.restarts < restarts:
                group.histories[name] = replace(history, restarts_before=restarts - history.pod_restarts)

    # --- what is seen

    def _leaders(self, key: Key) -> list[Pod]:
        return sorted((pod for pod in self._pods.of(key) if pod.leader and not pod.part), key=lambda pod: pod.index)

    def _workers(self, key: Key, leader: Pod) -> list[Pod]:
        return [pod for pod in self._pods.of(key) if pod.leader_name == leader.name and not pod.leader]

    def _replica(self, key: Key, group: _Group, pod: Pod, revision: str) -> Replica:
        history = group.histories.get(pod.name) or first_look(pod, self._clock.now())
        return replica_of(pod, self._workers(key, pod), history, revision)

    def _pod_changed(self, key: Key, before: Pod | None, now: Pod | None) -> None:
        pod = now or before
        if pod is None or pod.part:
            return
        told: list[Told | None] = [*self._look(key, pod.name, now)] if pod.leader else []
        for one in told or [None]:
            self._tell(key, pod.name, one)

    def _look(self, key: Key, name: str, pod: Pod | None) -> list[Told]:
        if pod is None and key not in self._groups:
            return []
        group = self._groups.setdefault(key, _Group())
        history, now = group.histories.get(name), self._clock.now()
        if pod is not None and history is None and not self._pods.cache.synced.is_set():
            group.histories[name] = first_look(pod, now, group.restarts_known.get(name, 0))
            return []
        new, told = next_look(history, pod, now, self._settings.stable_seconds)
        if new is not None:
            group.histories[name] = new
            if history is not None and new.restarts > history.restarts:
                self._meters.restarted(key)
        return told

    def _tell(self, key: Key, replica: str, told: Told | None) -> None:
        change = Change(key.namespace, key.name)
        if told is not None:
            change = Change(key.namespace, key.name, replica, told.verb, told.reason, told.message, told.last_lines)
        for listener in self._listeners:
            listener(change)

    def _child_changed(self, key: Key) -> None:
        for listener in self._listeners:
            listener(Change(key.namespace, key.name))


def _refusal_message(error: Invalid | NotFound) -> str:
    if isinstance(error, NotFound) and LEADER_WORKER_SET.kind in str(error):
        return f"LeaderWorkerSet is not installed in this cluster ({error})"
    return str(error)
