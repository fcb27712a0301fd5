"""Kubernetes as what applications run on."""

from arks.app_deployer.adapters.kube.children import SERVICE, Children
from arks.app_deployer.adapters.kube.pods import PodBook
from arks.app_deployer.adapters.kube.workloads import KubeWorkloads
from arks.app_deployer.adapters.metrics import EngineMeters, ReplicaGauges
from arks.app_deployer.adapters.platform import Platform
from arks.app_deployer.config import Settings
from arks.kit.home import Home
from arks.kit.kube.api import KubeApi


def kube_platform(settings: Settings, home: Home, api: KubeApi) -> Platform:
    pods = PodBook(api, settings.watch_namespace)
    services = Children(api, SERVICE, settings.watch_namespace)
    meters = EngineMeters(home.registry)
    workloads = KubeWorkloads(settings, api=api, pods=pods, services=services, clock=home.clock, meters=meters)
    home.registry.register(ReplicaGauges(workloads.observed))
    return Platform(workloads, [pods.run, services.run, *workloads.runs], [workloads.start], [])
