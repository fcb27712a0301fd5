"""The parts of app-deployer for Kubernetes, from settings."""

from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.announcer import Notice, no_notice
from arks.app_deployer.adapters.kubernetes.children import (
    DEPLOYMENT,
    LEADER_WORKER_SET,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
    Children,
    OnRepair,
    no_check,
)
from arks.app_deployer.adapters.kubernetes.disaggregated import KubeDisaggregatedWorkloads
from arks.app_deployer.adapters.kubernetes.first_tokens import FirstTokens
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
from arks.app_deployer.domain.surge import Patience
from arks.contracts.resources import ArksApplication
from arks.kit.clock import Clock
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.resources import kind_of


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
    namespace = settings.watch_namespace
    pods = PodIndex(api, namespace)
    kinds = (LEADER_WORKER_SET, SERVICE, DEPLOYMENT, SERVICE_ACCOUNT, ROLE, ROLE_BINDING)
    checks = {LEADER_WORKER_SET: SetNames(api).check}
    children = {
        kind.kind: Children(api, kind, namespace, clock=clock, on_repair=on_repair, check=checks.get(kind, no_check))
        for kind in kinds
    }
    sets, services, deployments = (children[kind.kind] for kind in kinds[:3])
    faults = StartFaults(api, clock)
    metrics, stuck_pods = EngineMetrics(registry), StuckPods(api)
    groups = Groups(
        pods=pods,
        faults=faults,
        clock=clock,
        metrics=metrics,
        stable_seconds=settings.stable_seconds,
    )
    patience = Patience(settings.room_seconds, settings.node_seconds)
    rollouts = SetRollouts(groups=groups, sets=sets, faults=faults, clock=clock, patience=patience)
    profiles = read_profiles(settings.runtime_profiles, settings.images())
    grace_seconds = settings.pod_grace_seconds
    probe = HttpProbe(health_seconds=settings.health_seconds, answer_seconds=settings.answer_seconds)
    first_tokens = FirstTokens(
        probe, clock, lambda started, seconds: groups.warmed_up(started.ref, started.pod, started.uid, seconds)
    )
    workloads = KubeWorkloads(
        profiles=profiles,
        grace_seconds=grace_seconds,
        groups=groups,
        rollouts=rollouts,
        sets=sets,
        services=services,
        stuck_pods=stuck_pods,
        metrics=metrics,
        measure=first_tokens.measure,
        pod_defaults=settings.pod_defaults,
    )
    disaggregated_workloads = KubeDisaggregatedWorkloads(
        profiles=profiles,
        grace_seconds=grace_seconds,
        groups=groups,
        rollouts=rollouts,
        sets=sets,
        services=services,
        deployments=deployments,
        accounts={kind.kind: children[kind.kind] for kind in kinds[3:]},
        pod_defaults=settings.pod_defaults,
    )
    registry.register(ReplicaGauges(workloads.observed))

    async def synced() -> None:
        for listed in (pods.cache.synced, *(each.cache.synced for each in children.values())):
            await listed.wait()

    async def write_replicas(key: Key, replicas: int) -> None:
        await api.merge(kind_of(ArksApplication), key, {"spec": {"replicas": replicas}})

    runs = [pods.run, stuck_pods.run, first_tokens.run, *(each.run for each in children.values())]
    hardware = NodeHardware(api, clock).of
    return Parts(
        workloads,
        disaggregated_workloads,
        probe,
        runs,
        [probe.start, synced],
        [probe.close],
        notice,
        write_replicas,
        hardware,
    )
