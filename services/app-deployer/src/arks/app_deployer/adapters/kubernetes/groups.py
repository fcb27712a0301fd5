"""Replicas as their pods show them, for applications and for the parts of disaggregated ones."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from arks.app_deployer.adapters.kubernetes.children import Child, Children
from arks.app_deployer.adapters.kubernetes.pods import PodBook
from arks.app_deployer.adapters.metrics import EngineMeters
from arks.app_deployer.domain import surge
from arks.app_deployer.domain.launch import manifests
from arks.app_deployer.domain.launch.manifests import Owner, Templates
from arks.app_deployer.domain.pods import History, Pod, Told, first_look, next_look, replica_of
from arks.app_deployer.domain.surge import Leader
from arks.app_deployer.domain.workload import Replica
from arks.kit.clock import Clock
from arks.kit.reconcile import Key

ROUTER = "router"
REFUSED = "UnderlayReconcileFailed"
"""Reason when the API server refuses what we make. Spelled as clients of the API know it."""
REFUSED_AGAIN_SECONDS = 30.0
"""The API server may be of another opinion by then: a quota was raised, LeaderWorkerSet was installed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose replicas: an application's, or those of one part of a disaggregated one."""

    application: Key
    part: str = ""


Listener = Callable[[Place, str, Told | None], None]
"""(whose, the replica's name, what people are told). Must not block."""


class Groups:
    def __init__(
        self,
        *,
        pods: PodBook,
        sets: Children,
        clock: Clock,
        meters: EngineMeters,
        stable_seconds: float,
        room_seconds: float,
    ) -> None:
        """`stable_seconds`, `room_seconds`: see config.py."""
        self._stable_seconds = stable_seconds
        self._room_seconds = room_seconds
        self._pods = pods
        self._sets = sets
        self._clock = clock
        self._meters = meters
        self._histories: dict[Place, dict[str, History]] = {}
        self._recalled: set[Place] = set()
        self._listeners: list[Listener] = []
        pods.subscribe(self._pod_changed)

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    # --- what is seen

    def places(self) -> Iterator[Place]:
        """Where there are pods."""
        return iter({Place(key, pod.part) for key in self._pods.applications() for pod in self._pods.of(key)})

    def replicas(self, place: Place, revision: str) -> tuple[Replica, ...]:
        """`revision`: of the newest spec; empty when there is none."""
        return tuple(self._replica(place, pod, revision) for pod in self._leaders(place))

    def _replica(self, place: Place, pod: Pod, revision: str) -> Replica:
        history = self._histories.get(place, {}).get(pod.name) or first_look(pod, self._clock.now())
        return replica_of(pod, self._workers(place, pod), history, revision)

    def _leaders(self, place: Place) -> list[Pod]:
        mine = [pod for pod in self._pods.of(place.application) if pod.leader and pod.part == place.part]
        return sorted(mine, key=lambda pod: (pod.index, pod.name))

    def _workers(self, place: Place, leader: Pod) -> list[Pod]:
        return [pod for pod in self._pods.of(place.application) if not pod.leader and pod.leader_name == leader.name]

    # --- what has happened

    def recall(self, place: Place, restarts: Mapping[str, int]) -> None:
        """Restarts that an app-deployer before us has counted, by replica: they only ever rise."""
        if place in self._recalled:
            return
        self._recalled.add(place)
        histories = self._histories.get(place, {})
        for name, counted in restarts.items():
            history = histories.get(name)
            if history is not None and history.restarts < counted:
                histories[name] = replace(history, restarts_before=counted - history.pod_restarts)

    def forget(self, place: Place) -> None:
        self._histories.pop(place, None)
        self._recalled.discard(place)
        self._meters.forget(place.application)

    def _pod_changed(self, key: Key, before: Pod | None, now: Pod | None) -> None:
        pod = now or before
        if pod is None:
            return
        place = Place(key, pod.part)
        told: list[Told | None] = [*self._look(place, pod.name, now)] if pod.leader else []
        for one in told or [None]:
            for listener in self._listeners:
                listener(place, pod.name, one)

    def _look(self, place: Place, name: str, pod: Pod | None) -> list[Told]:
        histories, now = self._histories.setdefault(place, {}), self._clock.now()
        history = histories.get(name)
        if pod is not None and history is None and not self._pods.cache.synced.is_set():
            histories[name] = first_look(pod, now)
            return []
        new, told = next_look(history, pod, now, self._stable_seconds)
        if new is None or (pod is None and place.part == ROUTER):  # a Deployment never uses a name twice
            histories.pop(name, None)
        else:
            histories[name] = new
            if history is not None and new.restarts > history.restarts:
                self._meters.restarted(place.application)
        if not histories:
            del self._histories[place]
        return told

    # --- sets

    async def apply_set(self, place: Place, owner: Owner, made: Templates, wanted: int, name: str) -> float | None:
        """Write the place's LeaderWorkerSet. Returns when to look again although nothing changes. Raises ArksError."""
        leaders = [
            Leader(pod.index, pod.ready, pod.revision == made.revision, self._unschedulable_seconds(place, pod))
            for pod in self._leaders(place)
            if not pod.leaving
        ]
        there = self._sets.get(Key(place.application.namespace, name))
        in_place, again_seconds = self._room(wanted, leaders, made, there)
        rollout = surge.plan(wanted, leaders, in_place=in_place)
        body = manifests.leader_worker_set(owner, made, rollout, name=name, part=place.part, in_place=in_place)
        await self._sets.apply(body)
        return again_seconds

    def _room(
        self, wanted: int, leaders: list[Leader], made: Templates, there: Child | None
    ) -> tuple[bool, float | None]:
        """Whether old replicas must make room for new ones, and when to ask again."""
        if there is not None and there.in_place == made.revision:
            return True, None
        left_seconds = surge.seconds_until_in_place(wanted, leaders, self._room_seconds)
        if left_seconds is None:
            return False, None
        return (True, None) if left_seconds <= 0 else (False, left_seconds)

    def _unschedulable_seconds(self, place: Place, leader: Pod) -> float | None:
        now = self._clock.now()
        times = [pod.unschedulable_since for pod in (leader, *self._workers(place, leader))]
        waits = [(now - time).total_seconds() for time in times if time is not None]
        return max(waits) if waits else None
