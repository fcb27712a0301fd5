import pytest

from arks.endpoint_router.adapters.local.wiring import attachments
from arks.endpoint_router.config import Settings


def test_one_machine_has_no_http_routes() -> None:
    assert attachments(Settings()) is None


@pytest.mark.parametrize(
    "settings", [Settings(http_route_namespaces="team"), Settings(http_route_namespace_selector="routes=yes")]
)
def test_namespaces_for_http_routes_are_an_error_on_one_machine(settings: Settings) -> None:
    with pytest.raises(ValueError, match="ARKS_HTTP_ROUTE_NAMESPACES and _SELECTOR need ARKS_PLATFORM=kubernetes"):
        attachments(settings)
