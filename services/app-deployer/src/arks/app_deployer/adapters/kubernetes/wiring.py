"""The parts of app-deployer for Kubernetes, from settings."""

from collections.abc import Callable
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.announcer import Notice, no_notice
from arks.app_deployer.adapters.kubernetes.children import (
    DEPLOYMENT,
    LEADER_WORKER_SET,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    Check,
    Children,
    OnRepair,
    no_check,
)
from arks.app_deployer.adapters.kubernetes.disaggregated import KubeDisaggregatedWorkloads
from arks.app_deployer.adapters.kubernetes.first_tokens import FirstTokens, Started
from arks.app_deployer.adapters.kubernetes.groups import Groups
from arks.app_deployer.adapters.kubernetes.hardware import NodeHardware
from arks.app_deployer.adapters.kubernetes.pods import PodIndex
from arks.app_deployer.adapters.kubernetes.set_names import SetNames
from arks.app_deployer.adapters.kubernetes.set_rollouts import SetRollouts
from arks.app_deployer.adapters.kubernetes.start_faults import StartFaults
from arks.app_deployer.adapters.kubernetes.stuck_pods import StuckPods
from arks.app_deployer.adapters.kubernetes.workloads import KubeWorkloads
from arks.app_deployer.adapters.metrics import EngineMetrics, ReplicaGauges
from arks.app_deployer.adapters.parts import Parts
from arks.app_deployer.adapters.probe import HttpProbe
from arks.app_deployer.adapters.profiles import read_profiles
from arks.app_deployer.config import Settings
from arks.app_deployer.domain.launch.profile_set import Profiles
from arks.app_deployer.domain.surge import Patience
from arks.contracts.resources import ArksApplication
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.kit.kube.resources import kind_of
from arks.kit.types import AsyncCallable


class _Cluster:
    """What this service reads of the cluster and writes there."""

    def __init__(self, api: KubeApi, namespace: str | None, clock: Clock, on_repair: OnRepair) -> None:
        self.pods = PodIndex(api, namespace)
        self.stuck_pods = StuckPods(api)
        self.faults = StartFaults(api, clock)

        def children(kind: Kind, check: Check = no_check) -> Children:
            return Children(api, kind, namespace, clock=clock, on_repair=on_repair, check=check)

        self.sets = children(LEADER_WORKER_SET, SetNames(api).check)
        self.services = children(SERVICE)
        self.deployments = children(DEPLOYMENT)
        self.accounts = {kind.kind: children(kind) for kind in (SERVICE_ACCOUNT, ROLE, ROLE_BINDING)}
        self._all = (self.sets, self.services, self.deployments, *self.accounts.values())

    @property
    def runs(self) -> list[AsyncCallable]:
        return [self.pods.run, self.stuck_pods.run, *(children.run for children in self._all)]

    async def synced(self) -> None:
        for listed in (self.pods.cache.synced, *(children.cache.synced for children in self._all)):
            await listed.wait()


class _Engines(NamedTuple):
    """How engines are launched, followed and replaced, whichever kind of application they are of."""

    profiles: Profiles
    groups: Groups
    rollouts: SetRollouts
    metrics: EngineMetrics


def kubernetes_parts(
    settings: Settings,
    api: KubeApi,
    clock: Clock,
    registry: CollectorRegistry,
    *,
    notice: Notice = no_notice,
    on_repair: OnRepair = lambda owner, what: None,
) -> Parts:
    """`notice` and `on_repair` write Kubernetes Events."""
    cluster = _Cluster(api, settings.watch_namespace, clock, on_repair)
    engines = _engines(settings, cluster, clock, EngineMetrics(registry))
    probe = HttpProbe(health_seconds=settings.health_seconds, answer_seconds=settings.answer_seconds)
    first_tokens = _first_tokens(probe, clock, engines.groups)
    workloads = _workloads(settings, cluster, engines, first_tokens.measure)
    registry.register(ReplicaGauges(workloads.observed))

    async def write_replicas(key: Key, replicas: int) -> None:
        await api.merge(kind_of(ArksApplication), key, {"spec": {"replicas": replicas}})

    return Parts(
        workloads,
        _disaggregated_workloads(settings, cluster, engines),
        probe,
        runs=[*cluster.runs, first_tokens.run],
        starts=[probe.start, cluster.synced],
        stops=[probe.close],
        notice=notice,
        write_replicas=write_replicas,
        hardware=NodeHardware(api, clock).of,
    )


def _engines(settings: Settings, cluster: _Cluster, clock: Clock, metrics: EngineMetrics) -> _Engines:
    groups = Groups(
        pods=cluster.pods,
        faults=cluster.faults,
        clock=clock,
        metrics=metrics,
        stable_seconds=settings.stable_seconds,
    )
    rollouts = SetRollouts(
        groups=groups,
        sets=cluster.sets,
        faults=cluster.faults,
        clock=clock,
        patience=Patience(settings.room_seconds, settings.node_seconds),
    )
    profiles = read_profiles(settings.runtime_profiles, settings.images())
    return _Engines(profiles, groups, rollouts, metrics)


def _first_tokens(probe: HttpProbe, clock: Clock, groups: Groups) -> FirstTokens:
    def measured(started: Started, seconds: float | None) -> None:
        groups.warmed_up(started.ref, started.pod, started.uid, seconds)

    return FirstTokens(probe, clock, measured)


def _workloads(
    settings: Settings, cluster: _Cluster, engines: _Engines, measure: Callable[[Started], None]
) -> KubeWorkloads:
    return KubeWorkloads(
        profiles=engines.profiles,
        grace_seconds=settings.pod_grace_seconds,
        groups=engines.groups,
        rollouts=engines.rollouts,
        sets=cluster.sets,
        services=cluster.services,
        stuck_pods=cluster.stuck_pods,
        metrics=engines.metrics,
        measure=measure,
        pod_defaults=settings.pod_defaults,
    )


def _disaggregated_workloads(settings: Settings, cluster: _Cluster, engines: _Engines) -> KubeDisaggregatedWorkloads:
    return KubeDisaggregatedWorkloads(
        profiles=engines.profiles,
        grace_seconds=settings.pod_grace_seconds,
        groups=engines.groups,
        rollouts=engines.rollouts,
        sets=cluster.sets,
        services=cluster.services,
        deployments=cluster.deployments,
        accounts=cluster.accounts,
        pod_defaults=settings.pod_defaults,
    )
