"""The HTTPRoute of an endpoint with a `gatewayRef`, and the condition that follows from its status."""

from typing import Any

import pytest

from arks.contracts.resources import ArksEndpoint
from arks.endpoint_router.domain.http_route import EnvoyService, attachment_of, http_route, is_owned_by

ENVOY = EnvoyService("arks-gateway", "arks-system", 80)
GATEWAY = {"name": "arks-eg", "namespace": "arks-operator-system"}


def endpoint(**spec: object) -> ArksEndpoint:
    metadata = {"name": "chat", "namespace": "team", "uid": "u-1"}
    return ArksEndpoint.from_dict({"metadata": metadata, "spec": {"gatewayRef": GATEWAY, **spec}})


def spec_of(**spec: object) -> dict[str, Any]:
    found: dict[str, Any] = http_route(endpoint(**spec), ENVOY)["spec"]
    return found


def test_route_leads_to_arks_envoy_and_never_to_engines() -> None:
    spec = spec_of(routeConfigs=[{"name": "arks-application-a", "weight": 3}])
    assert [GATEWAY] == spec["parentRefs"]
    (rule,) = spec["rules"]
    assert [{"name": "arks-gateway", "namespace": "arks-system", "port": 80}] == rule["backendRefs"]
    assert [{"path": {"type": "PathPrefix", "value": "/"}}] == rule["matches"]


def test_route_has_no_timeout() -> None:
    assert {"request": "0s"} == spec_of()["rules"][0]["timeouts"]


def test_route_has_the_endpoints_matches_and_listener() -> None:
    by_path: dict[str, object] = {"path": {"type": "Exact", "value": "/v1/chat/completions"}, "method": "POST"}
    matches = [by_path, {"headers": [{"name": "x-team", "value": "a"}]}]
    spec = spec_of(matchConfigs=matches, gatewayRef={**GATEWAY, "sectionName": "https", "port": 443})
    assert matches == spec["rules"][0]["matches"]
    assert [{**GATEWAY, "sectionName": "https", "port": 443}] == spec["parentRefs"]


def test_route_belongs_to_one_endpoint_not_to_a_later_one_of_the_same_name() -> None:
    route = http_route(endpoint(), ENVOY)
    later = ArksEndpoint.from_dict({"metadata": {"name": "chat", "namespace": "team", "uid": "u-2"}, "spec": {}})
    assert (True, False, False) == (
        is_owned_by(route, endpoint()),
        is_owned_by(route, later),
        is_owned_by({"metadata": {"name": "chat"}}, endpoint()),
    )


def parent(gateway: str, **conditions: str) -> dict[str, object]:
    written = [{"type": type_, "status": status, "reason": "R", "message": "m"} for type_, status in conditions.items()]
    return {"parentRef": {"name": gateway}, "conditions": written}


@pytest.mark.parametrize(
    ("parents", "reason", "attached"),
    [
        ([], "GatewaySilent", False),
        ([parent("another", Accepted="True")], "GatewaySilent", False),
        ([parent("arks-eg", Accepted="True", ResolvedRefs="True")], "Attached", True),
        ([parent("arks-eg", Accepted="False", ResolvedRefs="True")], "GatewayRefuses", False),
        ([parent("arks-eg", Accepted="True", ResolvedRefs="False")], "GatewayRefuses", False),
    ],
)
def test_conditions_of_the_gateway_become_the_attachment(parents: list[object], reason: str, attached: bool) -> None:
    found = attachment_of({"status": {"parents": parents}}, endpoint())
    assert (reason, attached) == (found.reason, found.attached)
