"""The parts of app-deployer for Kubernetes, from settings."""

from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.announcer import Notice, no_notice
from arks.app_deployer.adapters.kubernetes.children import DEPLOYMENT, LEADER_WORKER_SET, SERVICE, Children
from arks.app_deployer.adapters.kubernetes.disaggregated import KubeDisaggregatedWorkloads
from arks.app_deployer.adapters.kubernetes.groups import Groups
from arks.app_deployer.adapters.kubernetes.pods import PodIndex
from arks.app_deployer.adapters.kubernetes.workloads import KubeWorkloads
from arks.app_deployer.adapters.metrics import EngineMetrics, ReplicaGauges
from arks.app_deployer.adapters.parts import Parts
from arks.app_deployer.config import Settings
from arks.kit.clock import Clock
from arks.kit.kube.api import KubeApi


def kubernetes_parts(
    settings: Settings, api: KubeApi, clock: Clock, registry: CollectorRegistry, notice: Notice = no_notice
) -> Parts:
    namespace = settings.watch_namespace
    pods = PodIndex(api, namespace)
    kinds = (LEADER_WORKER_SET, SERVICE, DEPLOYMENT)
    sets, services, deployments = (Children(api, kind, namespace) for kind in kinds)
    groups = Groups(
        pods=pods,
        sets=sets,
        clock=clock,
        metrics=EngineMetrics(registry),
        stable_seconds=settings.stable_seconds,
        room_seconds=settings.room_seconds,
    )
    images, grace_seconds = settings.images(), settings.pod_grace_seconds
    workloads = KubeWorkloads(images=images, grace_seconds=grace_seconds, groups=groups, sets=sets, services=services)
    disaggregated_workloads = KubeDisaggregatedWorkloads(
        images=images,
        grace_seconds=grace_seconds,
        api=api,
        groups=groups,
        sets=sets,
        services=services,
        deployments=deployments,
    )
    registry.register(ReplicaGauges(workloads.observed))

    async def synced() -> None:
        for cache in (pods.cache, sets.cache, services.cache, deployments.cache):
            await cache.synced.wait()

    runs = [pods.run, sets.run, services.run, deployments.run]
    return Parts(workloads, disaggregated_workloads, runs, [synced], [], notice)
