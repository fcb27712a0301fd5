"""Writes LeaderWorkerSets: with one replica more while a rollout has room for it, otherwise in place."""

from collections.abc import Sequence

from arks.app_deployer.adapters.kubernetes.child import Child
from arks.app_deployer.adapters.kubernetes.children import Children
from arks.app_deployer.adapters.kubernetes.groups import Groups
from arks.app_deployer.adapters.kubernetes.start_faults import StartFaults
from arks.app_deployer.domain import checks, surge
from arks.app_deployer.domain.launch import manifests, scheduling
from arks.app_deployer.domain.launch.manifests import Owner, Templates
from arks.app_deployer.domain.pods import GroupRef, Pod
from arks.app_deployer.domain.start_faults import Expected
from arks.app_deployer.domain.surge import Leader, Patience
from arks.app_deployer.domain.workload import Refusal
from arks.contracts.resources import PodGroupPolicy, RolloutStrategy
from arks.kit.clock import Clock
from arks.kit.key import Key


def shortest(*waits: float | None) -> float | None:
    """The shortest of the waits; None without any."""
    return min((seconds for seconds in waits if seconds is not None), default=None)


class SetRollouts:
    def __init__(
        self, *, groups: Groups, sets: Children, faults: StartFaults, clock: Clock, patience: Patience
    ) -> None:
        """`patience`: for applications that give no deadline of their own."""
        self._groups = groups
        self._sets = sets
        self._faults = faults
        self._clock = clock
        self._patience = patience

    def pod_group_fault(self, ref: GroupRef, policy: PodGroupPolicy | None, nodes: int) -> Refusal | None:
        """Why pods that exist are not scheduled together."""
        groups = [pod.pod_group for pod in self._groups.leaders(ref)]
        problem = scheduling.pod_groups_problem(policy, nodes, groups)
        return Refusal(checks.NO_POD_GROUPS, problem) if problem else None

    def missing(self, ref: GroupRef) -> Refusal | None:
        """Why pods that are wanted do not exist."""
        fault = self._faults.of(ref).missing
        return Refusal(fault.reason, fault.message) if fault is not None else None

    def without_surge(self, child: Child | None, revision: str) -> bool:
        """Whether a surge for this revision had no room."""
        return child is not None and bool(revision) and child.without_surge == revision

    async def look_at_deployment(self, ref: GroupRef, name: str, desired: int, revision: str) -> float | None:
        """Find out why a Deployment lacks pods. Returns the seconds until the next look."""
        pods = self._groups.pods(ref)
        surging = any(pod.revision != revision for pod in pods)
        return await self._faults.look(ref, Expected(name, desired + surging, by_replica_sets=True), pods)

    async def apply(self, ref: GroupRef, owner: Owner, made: Templates, desired: int, name: str) -> float | None:
        """Write the LeaderWorkerSet; returns seconds until the next reconcile without a change. Raises ArksError."""
        existing = self._sets.get(Key(ref.application.namespace, name), owner.name, owner.kind)
        strategy = owner.spec.rollout_strategy
        look_seconds = None
        if existing is not None and not existing.terminating:
            pods = self._groups.pods(ref)
            look_seconds = await self._faults.look(ref, _expected(name, existing, made, desired, pods), pods)
        leaders = [self._leader(ref, pod, made) for pod in self._groups.leaders(ref) if not pod.terminating]
        if strategy.without_surge or self.without_surge(existing, made.revision):
            without_surge, room_seconds = True, None
        else:
            without_surge, room_seconds = self._room(ref, desired, leaders, strategy)
        rollout = surge.plan(desired, leaders, without_surge=without_surge)
        body = manifests.leader_worker_set(owner, made, rollout, name=name, part=ref.part, without_surge=without_surge)
        return shortest(await self._sets.apply(body), room_seconds, look_seconds)

    def _room(
        self, ref: GroupRef, desired: int, leaders: list[Leader], strategy: RolloutStrategy
    ) -> tuple[bool, float | None]:
        """Whether old replicas must stop before new ones start, and seconds until the next check."""
        missing_seconds = self._missing_seconds(ref)
        patience = self._patience_of(strategy)
        remaining_seconds = surge.seconds_until_surge_ends(desired, leaders, patience, missing_seconds=missing_seconds)
        if remaining_seconds is None:
            return False, None
        return (True, None) if remaining_seconds <= 0 else (False, remaining_seconds)

    def _patience_of(self, strategy: RolloutStrategy) -> Patience:
        given = strategy.surge_deadline_seconds
        return self._patience if given is None else Patience(given, given)

    def _missing_seconds(self, ref: GroupRef) -> float | None:
        found = self._faults.of(ref)
        if found.missing is None or found.missing_since is None:
            return None
        return (self._clock.now() - found.missing_since).total_seconds()

    def _leader(self, ref: GroupRef, pod: Pod, made: Templates) -> Leader:
        found, now = self._faults.of(ref), self._clock.now()
        group = (pod, *self._groups.workers(ref, pod))
        times = [each.unschedulable_since for each in group]
        times += [each.created_at for each in group if each.uid in found.pods]
        waits = [(now - time).total_seconds() for time in times if time is not None]
        expected = any(each.uid in found.node_expected for each in group)
        return Leader(pod.index, pod.ready, pod.revision == made.revision, max(waits, default=None), expected)


def _expected(name: str, existing: Child, made: Templates, desired: int, pods: Sequence[Pod]) -> Expected:
    """The pods that a set should have; during a surge of several replicas one replica more than it counts."""
    rolling = desired > 1 and any(pod.leader and pod.revision != made.revision for pod in pods)
    surging = rolling and existing.revision == made.revision and not existing.without_surge
    return Expected(name, existing.replicas + surging, made.size)
