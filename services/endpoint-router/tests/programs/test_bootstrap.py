import json

from arks.endpoint_router.config import Settings
from arks.endpoint_router.programs.bootstrap import bootstrap_json, certificate_json


def test_the_bootstrap_names_the_router_and_the_admin_port() -> None:
    found = json.loads(bootstrap_json(Settings(xds_port=18001, envoy_admin_port=9902), node_id="gateway-0"))
    cluster = found["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    assert ("gateway-0", 18001, 9902) == (
        found["node"]["id"],
        cluster["endpoint"]["address"]["socket_address"]["port_value"],
        found["admin"]["address"]["socket_address"]["port_value"],
    )


def test_metrics_are_served_only_with_a_stats_port() -> None:
    shown, hidden = (json.loads(bootstrap_json(Settings(envoy_stats_port=port))) for port in (9902, None))
    assert "listeners" not in hidden["static_resources"]
    assert ["stats"] == [listener["name"] for listener in shown["static_resources"]["listeners"]]


def test_the_private_key_is_named_not_copied() -> None:
    (found,) = json.loads(certificate_json("/etc/envoy/tls"))["resources"]
    assert {"filename": "/etc/envoy/tls/tls.key"} == found["tls_certificate"]["private_key"]
