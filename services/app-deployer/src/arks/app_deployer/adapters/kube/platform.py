"""Kubernetes as what applications run on."""

from prometheus_client import CollectorRegistry

from arks.app_deployer.adapters.kube.children import DEPLOYMENT, LEADER_WORKER_SET, SERVICE, Children
from arks.app_deployer.adapters.kube.groups import Groups
from arks.app_deployer.adapters.kube.notices import KubeNotices
from arks.app_deployer.adapters.kube.pods import PodBook
from arks.app_deployer.adapters.kube.stages import KubeStages
from arks.app_deployer.adapters.kube.workloads import KubeWorkloads
from arks.app_deployer.adapters.metrics import EngineMeters, ReplicaGauges
from arks.app_deployer.adapters.platform import Platform
from arks.app_deployer.config import Settings
from arks.kit.clock import Clock
from arks.kit.kube.api import KubeApi
from arks.kit.kube.events import KubeEvents


def kube_platform(settings: Settings, api: KubeApi, clock: Clock, registry: CollectorRegistry) -> Platform:
    notices = KubeNotices(KubeEvents(api, "arks-app-deployer", clock))
    namespace = settings.watch_namespace
    pods = PodBook(api, namespace)
    kinds = (LEADER_WORKER_SET, SERVICE, DEPLOYMENT)
    sets, services, deployments = (Children(api, kind, namespace) for kind in kinds)
    groups = Groups(settings, pods=pods, sets=sets, clock=clock, meters=EngineMeters(registry))
    workloads = KubeWorkloads(settings, groups=groups, sets=sets, services=services)
    stages = KubeStages(settings, api=api, groups=groups, sets=sets, services=services, deployments=deployments)
    registry.register(ReplicaGauges(workloads.observed))

    async def synced() -> None:
        for cache in (pods.cache, sets.cache, services.cache, deployments.cache):
            await cache.synced.wait()

    runs = [pods.run, sets.run, services.run, deployments.run, notices.run]
    return Platform(workloads, stages, runs, [synced], [], notices)
