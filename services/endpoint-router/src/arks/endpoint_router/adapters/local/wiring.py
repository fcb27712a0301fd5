"""Build the adapters that endpoint-router has on one machine only."""

from arks.endpoint_router.config import Settings
from arks.endpoint_router.service.ports import Attachments


def attachments(settings: Settings) -> Attachments | None:
    """Return None: one machine has no HTTPRoutes. Raises ValueError if the settings name namespaces for them."""
    if settings.http_route_namespaces or settings.http_route_namespace_selector:
        raise ValueError("ARKS_HTTP_ROUTE_NAMESPACES and _SELECTOR need ARKS_PLATFORM=kubernetes")
    return None
