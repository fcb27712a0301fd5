import json

from arks.endpoint_router.bootstrap import bootstrap_json
from arks.endpoint_router.config import Settings


def test_the_bootstrap_names_the_router_and_the_admin_port() -> None:
    found = json.loads(bootstrap_json(Settings(xds_port=18001, envoy_admin_port=9902), node_id="gateway-0"))
    cluster = found["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    assert ("gateway-0", 18001, 9902) == (
        found["node"]["id"],
        cluster["endpoint"]["address"]["socket_address"]["port_value"],
        found["admin"]["address"]["socket_address"]["port_value"],
    )
