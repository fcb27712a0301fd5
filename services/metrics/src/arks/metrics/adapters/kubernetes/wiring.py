"""Build the adapters that metrics has on Kubernetes only."""

from dataclasses import dataclass

from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.kube.home import KubeHome
from arks.metrics.adapters.kubernetes.certificates import ServingTls
from arks.metrics.adapters.kubernetes.pod_autoscalers import POD_AUTOSCALER, PodAutoscalers, Written, read
from arks.metrics.adapters.kubernetes.registration import Registration
from arks.metrics.config import Settings
from arks.metrics.domain.scaling.pod_autoscaler import MANAGER


@dataclass(frozen=True, slots=True)
class Parts:
    pod_autoscalers: PodAutoscalers
    written: Cache[Written]
    tls: ServingTls
    registration: Registration


def pod_autoscaler_parts(settings: Settings, home: KubeHome) -> Parts:
    labels = ",".join(f"{name}={value}" for name, value in MANAGER.items())
    written = home.watch(POD_AUTOSCALER, read, labels)
    tls = ServingTls()
    service = Key(settings.release_namespace, settings.external_metrics_service)
    return Parts(PodAutoscalers(home.api, written), written, tls, Registration(home.api, home.clock, tls, service))
