"""Replicas built from pods, for applications and for the parts of disaggregated ones."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from arks.app_deployer.adapters.kubernetes.child import Child
from arks.app_deployer.adapters.kubernetes.children import Children
from arks.app_deployer.adapters.kubernetes.pods import PodIndex
from arks.app_deployer.adapters.metrics import EngineMetrics
from arks.app_deployer.domain import surge
from arks.app_deployer.domain.launch import manifests
from arks.app_deployer.domain.launch.manifests import Owner, Templates
from arks.app_deployer.domain.pods import History, Pod, ReplicaNotice, first_history, next_history, replica_of
from arks.app_deployer.domain.surge import Leader
from arks.app_deployer.domain.workload import ObservedReplica
from arks.kit.clock import Clock
from arks.kit.key import Key

ROUTER = "router"


@dataclass(frozen=True, slots=True)
class GroupRef:
    """Names the replicas of an application, or of one part of a disaggregated application."""

    application: Key
    part: str = ""


def shortest(*waits: float | None) -> float | None:
    """The shortest of the waits; None without any."""
    return min((seconds for seconds in waits if seconds is not None), default=None)


Listener = Callable[[GroupRef, str, ReplicaNotice | None], None]
"""(application and part, the replica's name, the notice for people). Must not block."""


class Groups:
    def __init__(
        self,
        *,
        pods: PodIndex,
        sets: Children,
        clock: Clock,
        metrics: EngineMetrics,
        stable_seconds: float,
        room_seconds: float,
    ) -> None:
        """`stable_seconds`, `room_seconds`: see config.py."""
        self._stable_seconds = stable_seconds
        self._room_seconds = room_seconds
        self._pods = pods
        self._sets = sets
        self._clock = clock
        self._metrics = metrics
        self._histories: dict[GroupRef, dict[str, History]] = {}
        self._recalled: set[GroupRef] = set()
        self._listeners: list[Listener] = []
        pods.subscribe(self._pod_changed)

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    # --- observed replicas

    def group_refs(self) -> Iterator[GroupRef]:
        """Applications and parts that have pods."""
        return iter({GroupRef(key, pod.part) for key in self._pods.applications() for pod in self._pods.of(key)})

    def replicas(self, ref: GroupRef, revision: str) -> tuple[ObservedReplica, ...]:
        """Replicas in order. `revision`: of the newest spec; empty if unknown."""
        return tuple(self._replica(ref, pod, revision) for pod in self._leaders(ref))

    def _replica(self, ref: GroupRef, pod: Pod, revision: str) -> ObservedReplica:
        history = self._histories.get(ref, {}).get(pod.name) or first_history(pod, self._clock.now())
        return replica_of(pod, self._workers(ref, pod), history, revision)

    def _leaders(self, ref: GroupRef) -> list[Pod]:
        own_pods = [pod for pod in self._pods.of(ref.application) if pod.leader and pod.part == ref.part]
        return sorted(own_pods, key=lambda pod: (pod.index, pod.name))

    def _workers(self, ref: GroupRef, leader: Pod) -> list[Pod]:
        return [pod for pod in self._pods.of(ref.application) if not pod.leader and pod.leader_name == leader.name]

    # --- history

    def recall(self, ref: GroupRef, restarts: Mapping[str, int]) -> None:
        """Take over restart counts from the stored status, by replica: the counts never fall."""
        if ref in self._recalled:
            return
        self._recalled.add(ref)
        histories = self._histories.get(ref, {})
        for name, counted in restarts.items():
            history = histories.get(name)
            if history is not None and history.restarts < counted:
                histories[name] = replace(history, restarts_before=counted - history.pod_restarts)

    def forget(self, ref: GroupRef) -> None:
        self._histories.pop(ref, None)
        self._recalled.discard(ref)
        self._metrics.forget(ref.application)

    def _pod_changed(self, key: Key, before: Pod | None, now: Pod | None) -> None:
        pod = now or before
        if pod is None:
            return
        ref = GroupRef(key, pod.part)
        notices: list[ReplicaNotice | None] = [*self._look(ref, pod.name, now)] if pod.leader else []
        for notice in notices or [None]:
            for listener in self._listeners:
                listener(ref, pod.name, notice)

    def _look(self, ref: GroupRef, name: str, pod: Pod | None) -> list[ReplicaNotice]:
        histories, now = self._histories.setdefault(ref, {}), self._clock.now()
        history = histories.get(name)
        if pod is not None and history is None and not self._pods.cache.synced.is_set():
            histories[name] = first_history(pod, now)
            return []
        new, notices = next_history(history, pod, now, self._stable_seconds)
        if new is None or (pod is None and ref.part == ROUTER):  # a Deployment never reuses a pod name
            histories.pop(name, None)
        else:
            histories[name] = new
            if history is not None and new.restarts > history.restarts:
                self._metrics.restarted(ref.application)
        if not histories:
            del self._histories[ref]
        return notices

    # --- sets

    async def apply_set(self, ref: GroupRef, owner: Owner, made: Templates, desired: int, name: str) -> float | None:
        """Write the LeaderWorkerSet; returns seconds until the next reconcile without a change. Raises ArksError."""
        leaders = [
            Leader(pod.index, pod.ready, pod.revision == made.revision, self._unschedulable_seconds(ref, pod))
            for pod in self._leaders(ref)
            if not pod.terminating
        ]
        existing = self._sets.get(Key(ref.application.namespace, name), owner.name, owner.kind)
        without_surge, requeue_seconds = self._room(desired, leaders, made, existing)
        rollout = surge.plan(desired, leaders, without_surge=without_surge)
        body = manifests.leader_worker_set(owner, made, rollout, name=name, part=ref.part, without_surge=without_surge)
        return shortest(await self._sets.apply(body), requeue_seconds)

    def _room(
        self, desired: int, leaders: list[Leader], made: Templates, existing: Child | None
    ) -> tuple[bool, float | None]:
        """Whether old replicas must stop before new ones start, and seconds until the next check."""
        if existing is not None and existing.without_surge == made.revision:
            return True, None
        remaining_seconds = surge.seconds_until_surge_ends(desired, leaders, self._room_seconds)
        if remaining_seconds is None:
            return False, None
        return (True, None) if remaining_seconds <= 0 else (False, remaining_seconds)

    def _unschedulable_seconds(self, ref: GroupRef, leader: Pod) -> float | None:
        now = self._clock.now()
        times = [pod.unschedulable_since for pod in (leader, *self._workers(ref, leader))]
        waits = [(now - time).total_seconds() for time in times if time is not None]
        return max(waits) if waits else None
