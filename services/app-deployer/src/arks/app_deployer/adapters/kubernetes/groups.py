"""Replicas built from pods, for applications and for the parts of disaggregated ones."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from arks.app_deployer.adapters.kubernetes.pods import PodIndex
from arks.app_deployer.adapters.kubernetes.start_faults import StartFaults
from arks.app_deployer.adapters.metrics import EngineMetrics
from arks.app_deployer.domain.pods import GroupRef, History, Pod, ReplicaNotice, first_history, next_history, replica_of
from arks.app_deployer.domain.start_phases import StartPhases
from arks.app_deployer.domain.workload import ObservedReplica
from arks.kit.clock import Clock
from arks.kit.key import Key

ROUTER = "router"
_NO_STARTS: Mapping[str, StartPhases] = {}


Listener = Callable[[GroupRef, str, ReplicaNotice | None], None]
"""(application and part, the replica's name, the notice for people). Must not block."""


class Groups:
    def __init__(
        self,
        *,
        pods: PodIndex,
        faults: StartFaults,
        clock: Clock,
        metrics: EngineMetrics,
        stable_seconds: float,
    ) -> None:
        """`stable_seconds`: see config.py."""
        self._stable_seconds = stable_seconds
        self._pods = pods
        self._faults = faults
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
        return tuple(self._replica(ref, pod, revision) for pod in self.leaders(ref))

    def _replica(self, ref: GroupRef, pod: Pod, revision: str) -> ObservedReplica:
        history = self._histories.get(ref, {}).get(pod.name) or first_history(pod, self._clock.now())
        leader, *workers = (self._with_fault(ref, each) for each in (pod, *self.workers(ref, pod)))
        return replica_of(leader, workers, history, revision)

    def _with_fault(self, ref: GroupRef, pod: Pod) -> Pod:
        """The pod with the reason that only Kubernetes Events have."""
        fault = self._faults.of(ref).pods.get(pod.uid) if pod.waits else None
        return pod if fault is None else replace(pod, trouble=fault)

    def pods(self, ref: GroupRef) -> list[Pod]:
        return [pod for pod in self._pods.of(ref.application) if pod.part == ref.part]

    def leaders(self, ref: GroupRef) -> list[Pod]:
        return sorted((pod for pod in self.pods(ref) if pod.leader), key=lambda pod: (pod.index, pod.name))

    def workers(self, ref: GroupRef, leader: Pod) -> list[Pod]:
        return [pod for pod in self._pods.of(ref.application) if not pod.leader and pod.leader_name == leader.name]

    # --- history

    def recall(
        self, ref: GroupRef, restarts: Mapping[str, int], starts: Mapping[str, StartPhases] = _NO_STARTS
    ) -> None:
        """Take over what the stored status has, by replica: the counts never fall, and starts are observed once."""
        if ref in self._recalled:
            return
        self._recalled.add(ref)
        histories = self._histories.get(ref, {})
        for name, counted in restarts.items():
            history = histories.get(name)
            if history is not None and history.restarts < counted:
                histories[name] = replace(history, restarts_before=counted - history.pod_restarts)
        for pod in self.leaders(ref):
            history, start = histories.get(pod.name), starts.get(pod.name)
            if history is None or history.start is not None or start is None or pod.phases is None:
                continue
            if start.same_pod(pod.phases):
                histories[pod.name] = replace(history, start=start)

    def warmed_up(self, ref: GroupRef, name: str, uid: str, seconds: float | None) -> None:
        """A replica that has just started has written its first token; None: it is not known when."""
        history = self._histories.get(ref, {}).get(name)
        if history is None or history.uid != uid or history.start is None:
            return
        start = history.start if seconds is None else history.start.warmed_up(seconds)
        self._histories[ref][name] = replace(history, start=start)
        self._metrics.started(start)
        for listener in self._listeners:
            listener(ref, name, None)

    def forget(self, ref: GroupRef) -> None:
        self._histories.pop(ref, None)
        self._recalled.discard(ref)
        self._faults.forget(ref)
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
