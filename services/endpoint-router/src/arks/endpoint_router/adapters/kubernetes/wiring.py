"""Build the adapters that endpoint-router has on Kubernetes only."""

from arks.endpoint_router.adapters.kubernetes.http_routes import HttpRoutes
from arks.endpoint_router.adapters.kubernetes.selected_routes import SelectedRoutes
from arks.endpoint_router.config import Settings
from arks.endpoint_router.domain.http_route import EnvoyService
from arks.kit.kube.home import KubeHome
from arks.kit.kube.kinds import NAMESPACE


def attachments(settings: Settings, home: KubeHome) -> HttpRoutes | None:
    """Return the writer of HTTPRoutes for endpoints with a `gatewayRef`; None if no namespace may have them."""
    if not settings.http_route_namespaces and not settings.http_route_namespace_selector:
        return None
    envoy = EnvoyService(settings.gateway_service, settings.release_namespace, settings.gateway_service_port)
    listed = filter(None, settings.http_route_namespaces.split(","))
    return HttpRoutes(home.api, envoy, list(listed), home.clock, selected=_selected(settings, home, envoy))


def _selected(settings: Settings, home: KubeHome, envoy: EnvoyService) -> SelectedRoutes | None:
    if not settings.http_route_namespace_selector:
        return None
    namespaces = home.watch(NAMESPACE, lambda obj: True, settings.http_route_namespace_selector)
    return SelectedRoutes(home.api, envoy, namespaces, home.leading)
