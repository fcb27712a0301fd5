"""Build the adapters that endpoint-router has on Kubernetes only."""

from arks.endpoint_router.adapters.kubernetes.http_routes import HttpRoutes
from arks.endpoint_router.config import Settings
from arks.endpoint_router.domain.http_route import EnvoyService
from arks.kit.kube.home import KubeHome


def attachments(settings: Settings, home: KubeHome) -> HttpRoutes | None:
    """Return the writer of HTTPRoutes for endpoints with a `gatewayRef`; None if no namespace may have them."""
    if not settings.http_route_namespaces:
        return None
    envoy = EnvoyService(settings.gateway_service, settings.release_namespace, settings.gateway_service_port)
    return HttpRoutes(home.api, envoy, settings.http_route_namespaces.split(","), home.clock)
