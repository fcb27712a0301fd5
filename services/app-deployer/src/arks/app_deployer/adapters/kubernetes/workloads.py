"""Applications on Kubernetes: each a LeaderWorkerSet and a Service; LeaderWorkerSet's own controller runs the pods."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from arks.app_deployer.adapters.kubernetes.children import Children
from arks.app_deployer.adapters.kubernetes.first_tokens import Started
from arks.app_deployer.adapters.kubernetes.groups import Groups
from arks.app_deployer.adapters.kubernetes.refusals import RETRY_SECONDS, Refused, refusal_of
from arks.app_deployer.adapters.kubernetes.set_rollouts import SetRollouts, shortest
from arks.app_deployer.adapters.kubernetes.stuck_pods import StuckPods
from arks.app_deployer.adapters.metrics import EngineMetrics
from arks.app_deployer.domain import checks
from arks.app_deployer.domain.launch import commands, manifests, platform_defaults, scheduling
from arks.app_deployer.domain.launch.profile_set import NoLaunch, Profiles
from arks.app_deployer.domain.pods import GroupRef, ReplicaNotice
from arks.app_deployer.domain.status import recalled
from arks.app_deployer.domain.workload import ENGINE_STUCK, Change, ObservedWorkload, Refusal, ReplicaVerb, Workload
from arks.contracts.names import service_name
from arks.contracts.resources import ArksApplication
from arks.events.v1.facts_pb2 import ModelFact
from arks.kit.key import Key
from arks.kit.kube.pod_defaults import NO_DEFAULTS, PodDefaults

_KIND = ArksApplication.__name__


def _set_key(application: Key) -> Key:
    return Key(application.namespace, manifests.set_name(application.name))


@dataclass(slots=True)
class _ApplicationState:
    """State of an application that its objects do not hold."""

    revision: str = ""
    refusal: Refusal | None = None
    fault: Refusal | None = None
    """What has no effect, although the replicas run."""
    requeue_seconds: float | None = None
    note: str = ""
    served_name: str = ""


class KubeWorkloads:
    def __init__(
        self,
        *,
        profiles: Profiles,
        grace_seconds: float,
        groups: Groups,
        rollouts: SetRollouts,
        sets: Children,
        services: Children,
        stuck_pods: StuckPods,
        metrics: EngineMetrics,
        measure: Callable[[Started], None],
        pod_defaults: PodDefaults = NO_DEFAULTS,
    ) -> None:
        """`grace_seconds`: of pods whose spec has no terminationGracePeriodSeconds. `measure`: the first token of a
        replica that has just started."""
        self._profiles = profiles
        self._pod_defaults = pod_defaults
        self._grace_seconds = grace_seconds
        self._groups = groups
        self._rollouts = rollouts
        self._sets = sets
        self._services = services
        self._stuck_pods = stuck_pods
        self._metrics = metrics
        self._measure = measure
        self._known: dict[Key, _ApplicationState] = {}
        self._listeners: list[Callable[[Change], None]] = []
        groups.subscribe(self._replica_changed)
        for children in (sets, services):
            children.subscribe(_KIND, self._child_changed)

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        self._listeners.append(listener)

    def problem(self, application: ArksApplication) -> Refusal | None:
        spec = application.spec
        try:
            group = commands.group(spec, "/", commands.launch_of(spec, self._profiles))
        except NoLaunch as error:
            return Refusal(checks.RUNTIME_NOT_SUPPORTED, str(error))
        if spec.group_size > 1 and group.worker is None:
            message = f"runtime {spec.effective_runtime} runs on one node: leave size out, or set it to 1"
            return Refusal(checks.RUNTIME_NOT_SUPPORTED, message)
        if problem := scheduling.policy_problem(spec.pod_group_policy, spec.group_size):
            return Refusal(checks.GANG_NOT_SUPPORTED, problem)
        return None

    def dialect(self, application: ArksApplication) -> str:
        try:
            return commands.launch_of(application.spec, self._profiles).profile.dialect
        except NoLaunch:
            return ""

    def unsupported(self, application: ArksApplication) -> tuple[str, ...]:
        try:
            return commands.launch_of(application.spec, self._profiles).profile.unsupported
        except NoLaunch:
            return ()

    def end_stuck(self, key: Key, replica: str, port: int, why: str) -> bool:
        pod = next((pod for pod in self._groups.leaders(GroupRef(key)) if pod.name == replica), None)
        if pod is None or pod.port != port or not pod.ready or pod.terminating:
            return False
        if not self._stuck_pods.delete(Key(key.namespace, pod.name), pod.uid):
            return False
        self._metrics.stuck(key)
        message = f"{replica}: {why} and is deleted"
        self._notify(Change(key.namespace, key.name, replica, ReplicaVerb.EXITED, ENGINE_STUCK, message))
        return True

    def keys(self) -> set[Key]:
        return self._sets.of(_KIND) | {ref.application for ref in self._groups.group_refs() if not ref.part}

    def observe(self, key: Key) -> ObservedWorkload:
        known = self._known.get(key) or _ApplicationState()
        child = self._sets.get(_set_key(key), key.name, _KIND)
        revision = known.revision or (child.revision if child is not None else "")
        ref = GroupRef(key)
        return ObservedWorkload(
            self._groups.replicas(ref, revision),
            known.refusal or self._rollouts.missing(ref) or known.fault,
            known.requeue_seconds,
            without_surge=self._rollouts.without_surge(child, revision),
            note=known.note,
        )

    def observed(self) -> Iterator[tuple[Key, ObservedWorkload]]:
        return iter([(key, self.observe(key)) for key in self.keys()])

    async def apply(self, workload: Workload) -> ObservedWorkload:
        application = workload.application
        key = Key(application.namespace, application.name)
        status = application.status
        instances = status.instances if status else []
        starts = {instance.name: start for instance in instances if (start := recalled(instance.start)) is not None}
        self._groups.recall(GroupRef(key), {instance.name: instance.restarts for instance in instances}, starts)
        if workload.model is None:
            await self._sets.scale_down(_set_key(key), application.spec.replicas, key.name, _KIND)
            return self.observe(key)
        known = self._known.setdefault(key, _ApplicationState())
        known.served_name = application.spec.served_name
        try:
            await self._apply(key, known, application, workload.model)
            known.refusal = None
        except Refused as error:
            known.refusal = refusal_of(error)
            known.requeue_seconds = RETRY_SECONDS
        return self.observe(key)

    async def _apply(self, key: Key, known: _ApplicationState, application: ArksApplication, model: ModelFact) -> None:
        made = manifests.templates(application, model, self._profiles, self._grace_seconds)
        made = platform_defaults.in_templates(made, self._pod_defaults)
        known.revision = made.revision
        known.note = commands.launch_of(application.spec, self._profiles).profile.note
        spec, desired = application.spec, application.spec.replicas
        known.fault = self._rollouts.pod_group_fault(GroupRef(key), spec.pod_group_policy, spec.group_size)
        known.requeue_seconds = shortest(
            await self._services.apply(manifests.application_service(application)),
            await self._rollouts.apply(GroupRef(key), application, made, desired, manifests.set_name(key.name)),
        )

    async def remove(self, key: Key, grace_seconds: float) -> ObservedWorkload:
        """Delete the objects; each pod ends within the grace period that it was created with."""
        set_gone = await self._sets.delete(_set_key(key), key.name, _KIND)
        service_gone = await self._services.delete(Key(key.namespace, service_name(key.name)), key.name, _KIND)
        observed = self.observe(key)
        if set_gone and service_gone and not observed.replicas:
            self._known.pop(key, None)
            self._groups.forget(GroupRef(key))
            return ObservedWorkload()
        return ObservedWorkload(observed.replicas, terminating=True)

    def _replica_changed(self, ref: GroupRef, replica: str, notice: ReplicaNotice | None) -> None:
        if ref.part:
            return
        key = ref.application
        change = Change(key.namespace, key.name)
        if notice is not None:
            if notice.start is not None:
                self._measure_first_token(ref, replica)
            change = Change(
                key.namespace, key.name, replica, notice.verb, notice.reason, notice.message, notice.last_lines
            )
        self._notify(change)

    def _measure_first_token(self, ref: GroupRef, replica: str) -> None:
        known = self._known.get(ref.application)
        pod = next((pod for pod in self._groups.leaders(ref) if pod.name == replica), None)
        if known is not None and pod is not None and pod.ip and pod.port:
            self._measure(Started(ref, pod.name, pod.uid, pod.ip, pod.port, known.served_name))

    def _notify(self, change: Change) -> None:
        for listener in self._listeners:
            listener(change)

    def _child_changed(self, key: Key) -> None:
        self._notify(Change(key.namespace, key.name))
